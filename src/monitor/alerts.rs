//! Alerts: rules over what is known, and the book in which an alert opens once, is updated, and resolves.
//!
//! Pure: no clock, no IO. A rule sees the [`Situation`] and says what it makes of it; the book compares
//! that with what is open.

use super::options::Thresholds;
use crate::model::Timestamp;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

/// Alerts that are remembered, open ones always included.
pub const HISTORY_MAX: usize = 1000;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Somebody should act now.
    High,
    /// Somebody should look.
    Medium,
    /// Good to know.
    Low,
}

impl Priority {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::High => "high",
            Priority::Medium => "medium",
            Priority::Low => "low",
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $priority:ident;)*) => {
        /// What an alert is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Rule { $($(#[$doc])* $variant),* }

        impl Rule {
            /// Every rule, most urgent first.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// The word in JSON and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Rule::$variant => $word),* }
            }

            /// How urgent its alerts are.
            #[must_use]
            pub const fn priority(self) -> Priority {
                match self { $(Rule::$variant => Priority::$priority),* }
            }
        }
    };
}

rules! {
    /// Too many melted tokens are unspent.
    ProblematicTokens = "problematic_tokens", High;
    /// Proof secrets stand in several proofs, and not as benign copies.
    DuplicateSecrets = "duplicate_secrets", High;
    /// The health score is low, the database is gone, passes fail, indexes are missing, a secondary lags.
    HealthDegraded = "health_degraded", High;
    /// Users' balances are wrong.
    BalanceInconsistency = "balance_inconsistency", Medium;
    /// Tokens have no wallet.
    OrphanedTokens = "orphaned_tokens", Medium;
    /// A pass or a run takes long.
    LongExecution = "long_execution", Medium;
    /// The migration was completed.
    MigrationCompleted = "migration_completed", Low;
    /// Everything is as it should be.
    HealthOptimal = "health_optimal", Low;
}

/// What rules judge.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Situation {
    /// From the latest pass; `None` before the first.
    pub ledger: Option<LedgerFigures>,
    /// Whether the system was asked how it is.
    pub is_system_known: bool,
    /// What is wrong with the system, in sentences.
    pub system_faults: Vec<String>,
    /// The migration's state.
    pub migration_state: Option<String>,
    /// The longest work under way or just ended: what it is and how long it took.
    pub execution: Option<(String, Duration)>,
}

impl Situation {
    /// Whether both the ledger and the system were looked at.
    fn is_known(&self) -> bool {
        self.ledger.is_some() && self.is_system_known
    }
}

/// Figures of a pass that alerts look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Melted and unspent tokens.
    pub problematic_tokens: u64,
    /// Melted tokens.
    pub melted_tokens: u64,
    /// Secrets found in more than one proof, but for the class `benign_copy`.
    pub duplicate_secrets: u64,
    /// Those of the class `benign_copy`: how the service stores a melt.
    pub benign_copies: u64,
    /// Tokens without a wallet.
    pub orphaned_tokens: u64,
    /// Whether the wallets were not there, so that more tokens may be without one.
    pub wallets_are_missing: bool,
    /// Users whose balance is wrong.
    pub users_with_issues: u64,
}

/// A figure of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    /// A count, or seconds.
    Whole(u64),
    /// A score from 0 to 1, to the thousandth.
    Score(f64),
}

impl Figure {
    #[allow(clippy::float_arithmetic)] // a score for people, no amount
    fn score(permille: u64) -> Figure {
        Figure::Score(f64::from(u32::try_from(permille).unwrap_or(u32::MAX)) / 1000.0)
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Figure::Whole(number) => write!(f, "{number}"),
            Figure::Score(score) => write!(f, "{score:.3}"),
        }
    }
}

/// A rule's condition that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The rule.
    pub rule: Rule,
    /// One line.
    pub title: String,
    /// What was seen.
    pub detail: String,
    /// The figure, where there is one.
    pub value: Option<Figure>,
    /// What it was compared with.
    pub threshold: Option<Figure>,
    /// What to do.
    pub action: &'static str,
}

/// Whether an alert's condition holds still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// It holds.
    Open,
    /// It no longer does.
    Resolved,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Grows with every alert.
    pub id: u64,
    /// What it is about.
    pub rule: Rule,
    /// How urgent.
    pub priority: Priority,
    /// Whether it holds still.
    pub state: AlertState,
    /// One line.
    pub title: String,
    /// What was seen last.
    pub detail: String,
    /// The figure seen last.
    pub value: Option<Figure>,
    /// What it was compared with.
    pub threshold: Option<Figure>,
    /// What to do.
    pub action: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it was last seen.
    pub updated_at: Timestamp,
    /// When it resolved.
    pub resolved_at: Option<Timestamp>,
    /// How many passes saw its condition, the one in which or before which it opened included.
    pub times: u64,
}

/// When the rules are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// After a pass, whether it ended well or failed.
    Pass,
    /// Between passes: what it sees of the ledger was seen already.
    Between,
}

/// What became of an alert; only openings and resolutions are sent out.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// It opened.
    Opened(Alert),
    /// It resolved.
    Resolved(Alert),
}

impl Turn {
    /// The alert as it is now.
    #[must_use]
    pub fn alert(&self) -> &Alert {
        match self {
            Turn::Opened(alert) | Turn::Resolved(alert) => alert,
        }
    }
}

/// Open and past alerts.
#[derive(Debug, Clone, Default)]
pub struct AlertBook {
    /// Oldest first.
    alerts: VecDeque<Alert>,
    last_id: u64,
}

impl AlertBook {
    /// A book that remembers `alerts`, oldest first.
    #[must_use]
    pub fn restored(alerts: Vec<Alert>) -> AlertBook {
        let last_id = alerts.iter().map(|alert| alert.id).max().unwrap_or(0);
        let mut book = AlertBook { alerts: alerts.into(), last_id };
        book.trim();
        book
    }

    /// The alerts, oldest first.
    #[must_use]
    pub fn into_alerts(self) -> Vec<Alert> {
        self.alerts.into()
    }

    /// All alerts: the open ones, most urgent first; then the others, latest first.
    #[must_use]
    pub fn all(&self) -> Vec<&Alert> {
        let mut all: Vec<&Alert> = self.alerts.iter().collect();
        all.sort_by_key(|alert| match alert.state {
            AlertState::Open => (false, Some(alert.priority), Reverse((alert.opened_at, alert.id))),
            AlertState::Resolved => (true, None, Reverse((alert.updated_at, alert.id))),
        });
        all
    }

    /// The open alerts, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.state == AlertState::Open)
    }

    /// Compares the open alerts with what holds now. An alert whose rule can't be judged stays as it is.
    pub fn update(&mut self, judgement: &Judgement, now: Timestamp, look: Look) -> Vec<Turn> {
        let mut turns = Vec::new();
        let Judgement { holds, unknown } = judgement;
        let judged =
            |alert: &&mut Alert| alert.state == AlertState::Open && !unknown.contains(&alert.rule);
        for alert in self.alerts.iter_mut().filter(judged) {
            alert.updated_at = now;
            match holds.iter().find(|condition| condition.rule == alert.rule) {
                Some(condition) => {
                    alert.title.clone_from(&condition.title);
                    alert.detail.clone_from(&condition.detail);
                    alert.value = condition.value;
                    alert.threshold = condition.threshold;
                    alert.times += u64::from(look == Look::Pass);
                }
                None => {
                    alert.state = AlertState::Resolved;
                    alert.resolved_at = Some(now);
                    turns.push(Turn::Resolved(alert.clone()));
                }
            }
        }
        for condition in holds {
            if !self.open().any(|alert| alert.rule == condition.rule) {
                turns.push(Turn::Opened(self.raise(condition, now)));
            }
        }
        self.trim();
        turns
    }

    fn raise(&mut self, condition: &Condition, now: Timestamp) -> Alert {
        self.last_id += 1;
        let alert = Alert {
            id: self.last_id,
            rule: condition.rule,
            priority: condition.rule.priority(),
            state: AlertState::Open,
            title: condition.title.clone(),
            detail: condition.detail.clone(),
            value: condition.value,
            threshold: condition.threshold,
            action: condition.action.to_owned(),
            opened_at: now,
            updated_at: now,
            resolved_at: None,
            times: 1,
        };
        self.alerts.push_back(alert.clone());
        alert
    }

    /// Forgets the oldest resolved alerts.
    fn trim(&mut self) {
        while self.alerts.len() > HISTORY_MAX {
            let Some(oldest) =
                self.alerts.iter().position(|alert| alert.state == AlertState::Resolved)
            else {
                return;
            };
            self.alerts.remove(oldest);
        }
    }
}

/// What the rules make of a situation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// The conditions that hold, most urgent first.
    pub holds: Vec<Condition>,
    /// Rules that can't be judged yet.
    pub unknown: Vec<Rule>,
}

/// Judges `situation`.
#[must_use]
pub fn judge(situation: &Situation, thresholds: &Thresholds) -> Judgement {
    let mut unknown = Vec::new();
    if situation.ledger.is_none() {
        unknown.extend([
            Rule::ProblematicTokens,
            Rule::DuplicateSecrets,
            Rule::BalanceInconsistency,
        ]);
        unknown.extend([Rule::OrphanedTokens, Rule::LongExecution]);
    }
    if !situation.is_known() {
        unknown.extend([Rule::HealthDegraded, Rule::HealthOptimal]);
    }
    if situation.ledger.is_some_and(|figures| figures.wallets_are_missing) {
        unknown.push(Rule::OrphanedTokens);
    }
    if situation.migration_state.is_none() {
        unknown.push(Rule::MigrationCompleted);
    }
    Judgement { holds: conditions(situation, thresholds), unknown }
}

fn conditions(situation: &Situation, thresholds: &Thresholds) -> Vec<Condition> {
    let judged = Rule::ALL.iter().filter_map(|rule| match rule {
        Rule::ProblematicTokens => problematic_tokens(situation, thresholds),
        Rule::DuplicateSecrets => duplicate_secrets(situation, thresholds),
        Rule::HealthDegraded => health_degraded(situation, thresholds),
        Rule::BalanceInconsistency => balance_inconsistency(situation, thresholds),
        Rule::OrphanedTokens => orphaned_tokens(situation, thresholds),
        Rule::LongExecution => long_execution(situation, thresholds),
        Rule::MigrationCompleted => migration_completed(situation),
        Rule::HealthOptimal => None, // all others decide
    });
    let mut conditions: Vec<Condition> = judged.collect();
    let is_quiet = conditions.iter().all(|condition| condition.rule.priority() == Priority::Low);
    if is_quiet && situation.is_known() {
        conditions.push(Condition {
            rule: Rule::HealthOptimal,
            title: "All is well".to_owned(),
            detail: "no rule of high or medium priority holds".to_owned(),
            value: None,
            threshold: None,
            action: "nothing to do",
        });
    }
    conditions
}

fn over(
    rule: Rule,
    seen: u64,
    most: u64,
    title: String,
    action: &'static str,
) -> Option<Condition> {
    (seen > most).then(|| Condition {
        rule,
        title,
        detail: format!("{seen} seen, at most {most} expected"),
        value: Some(Figure::Whole(seen)),
        threshold: Some(Figure::Whole(most)),
        action,
    })
}

fn problematic_tokens(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let seen = situation.ledger?.problematic_tokens;
    let title = format!("{seen} melted tokens are unspent");
    let action = "remelt export, remelt analyze, then remelt preview the plan";
    over(Rule::ProblematicTokens, seen, thresholds.problematic_tokens_max, title, action)
}

fn duplicate_secrets(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let figures = situation.ledger?;
    let seen = figures.duplicate_secrets;
    let title = format!("{seen} proof secrets stand in several proofs");
    let action = "see the findings duplicate_secrets: money may be counted that is not there";
    let mut condition =
        over(Rule::DuplicateSecrets, seen, thresholds.duplicate_secrets_max, title, action)?;
    let benign = figures.benign_copies;
    condition.detail += &format!("; {benign} more are benign copies and do not count");
    Some(condition)
}

fn health_degraded(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let mut faults = situation.system_faults.clone();
    let score = situation.ledger.and_then(|figures| low_score(figures, thresholds));
    if let Some((seen, least)) = score {
        faults.push(format!("the health score is {seen}, at least {least} expected"));
    }
    (!faults.is_empty()).then(|| Condition {
        rule: Rule::HealthDegraded,
        title: "The system's health is degraded".to_owned(),
        detail: faults.join("; "),
        value: score.map(|(seen, _)| seen),
        threshold: score.map(|(_, least)| least),
        action: "see /admin/health for every measurement",
    })
}

/// The health score and the least that is expected, when it is below that.
fn low_score(figures: LedgerFigures, thresholds: &Thresholds) -> Option<(Figure, Figure)> {
    let least = thresholds.health_score_min_permille;
    let right = figures.melted_tokens.saturating_sub(figures.problematic_tokens);
    let permille = (u128::from(right) * 1000).checked_div(figures.melted_tokens.into())?;
    let permille = u64::try_from(permille).ok().filter(|permille| *permille < least)?;
    Some((Figure::score(permille), Figure::score(least)))
}

fn balance_inconsistency(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let seen = situation.ledger?.users_with_issues;
    let title = format!("{seen} users' balances are wrong");
    let action = "see /admin/health/balance-consistency for who and how much";
    over(Rule::BalanceInconsistency, seen, thresholds.users_with_issues_max, title, action)
}

fn orphaned_tokens(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let seen = situation.ledger?.orphaned_tokens;
    let title = format!("{seen} tokens have no wallet");
    let action = "see the findings orphaned_tokens";
    over(Rule::OrphanedTokens, seen, thresholds.orphaned_tokens_max, title, action)
}

fn long_execution(situation: &Situation, thresholds: &Thresholds) -> Option<Condition> {
    let (what, took) = situation.execution.as_ref()?;
    let (word, most) = if *took > thresholds.execution_error {
        ("error", thresholds.execution_error)
    } else if *took > thresholds.execution_warn {
        ("warning", thresholds.execution_warn)
    } else {
        return None;
    };
    Some(Condition {
        rule: Rule::LongExecution,
        title: format!("{what} takes long ({word})"),
        detail: format!("{} s, at most {} s expected", took.as_secs(), most.as_secs()),
        value: Some(Figure::Whole(took.as_secs())),
        threshold: Some(Figure::Whole(most.as_secs())),
        action: "look at the server's load and at the network; raise the interval or the threshold",
    })
}

fn migration_completed(situation: &Situation) -> Option<Condition> {
    (situation.migration_state.as_deref() == Some("completed")).then(|| Condition {
        rule: Rule::MigrationCompleted,
        title: "The migration is completed".to_owned(),
        detail: "migrationstates says completed".to_owned(),
        value: None,
        threshold: None,
        action: "remelt verify the plan once more, and keep the run's journal",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Situation {
        Situation {
            ledger: Some(LedgerFigures { melted_tokens: 100, ..LedgerFigures::default() }),
            is_system_known: true,
            migration_state: Some("not_started".to_owned()),
            ..Situation::default()
        }
    }

    fn with(change: impl FnOnce(&mut LedgerFigures)) -> Situation {
        let mut figures = quiet().ledger.unwrap();
        change(&mut figures);
        Situation { ledger: Some(figures), ..quiet() }
    }

    fn rules(situation: &Situation) -> Vec<Rule> {
        let judgement = judge(situation, &Thresholds::default());
        judgement.holds.iter().map(|condition| condition.rule).collect()
    }

    #[test]
    fn the_seeds_rules_hold_at_the_seeds_thresholds() {
        assert_eq!(rules(&quiet()), [Rule::HealthOptimal]);
        assert_eq!(rules(&with(|it| it.problematic_tokens = 10)), [Rule::HealthOptimal]);
        assert_eq!(rules(&with(|it| it.duplicate_secrets = 1)), [Rule::DuplicateSecrets]);
        assert_eq!(rules(&with(|it| it.benign_copies = 99)), [Rule::HealthOptimal]);
        assert_eq!(rules(&with(|it| it.users_with_issues = 1)), [Rule::BalanceInconsistency]);
        assert_eq!(rules(&with(|it| it.orphaned_tokens = 1)), [Rule::OrphanedTokens]);
        let eleven = with(|it| it.problematic_tokens = 11);
        assert_eq!(rules(&eleven), [Rule::ProblematicTokens, Rule::HealthDegraded]);
        let gone = Situation { system_faults: vec!["gone".into()], ..quiet() };
        assert_eq!(rules(&gone), [Rule::HealthDegraded]);
        let done = Situation { migration_state: Some("completed".into()), ..quiet() };
        assert_eq!(rules(&done), [Rule::MigrationCompleted, Rule::HealthOptimal]);
    }

    #[test]
    fn a_low_score_is_told_as_people_read_scores_and_remembered_so() {
        let low = with(|it| it.problematic_tokens = 12);
        let mut book = AlertBook::default();
        book.update(&judge(&low, &Thresholds::default()), Timestamp(1), Look::Pass);
        let alert = book.open().find(|alert| alert.rule == Rule::HealthDegraded).unwrap();
        let told = serde_json::to_value(alert).unwrap();
        assert_eq!((&told["value"], &told["threshold"]), (&0.88.into(), &0.9.into()));
        assert_eq!(alert.detail, "the health score is 0.880, at least 0.900 expected");
        assert_eq!(serde_json::from_value::<Alert>(told).unwrap(), *alert);
        for permille in [0, 1, 999, 1000] {
            let figure = Figure::score(permille);
            let text = serde_json::to_string(&figure).unwrap();
            assert_eq!(serde_json::from_str::<Figure>(&text).unwrap(), figure, "{text}");
        }
    }

    #[test]
    fn work_is_long_after_thirty_seconds_and_wrong_after_five_minutes() {
        let after = |seconds| {
            let execution = Some(("A pass".to_owned(), Duration::from_secs(seconds)));
            let situation = Situation { execution, ..quiet() };
            let holds = judge(&situation, &Thresholds::default()).holds;
            holds.into_iter().find(|it| it.rule == Rule::LongExecution).map(|it| it.title)
        };
        assert_eq!(after(30), None);
        assert_eq!(after(31).as_deref(), Some("A pass takes long (warning)"));
        assert_eq!(after(301).as_deref(), Some("A pass takes long (error)"));
    }

    #[test]
    fn an_alert_opens_once_is_updated_and_resolves() {
        let mut book = AlertBook::default();
        let bad = |seen| judge(&with(|it| it.orphaned_tokens = seen), &Thresholds::default());
        let opened = book.update(&bad(2), Timestamp(1), Look::Pass);
        assert!(matches!(&*opened, [Turn::Opened(alert)] if alert.rule == Rule::OrphanedTokens));
        assert_eq!(book.update(&bad(3), Timestamp(2), Look::Pass), []);
        let open: Vec<&Alert> = book.open().collect();
        assert_eq!(open[0].value, Some(Figure::Whole(3)));
        assert_eq!((open[0].times, open[0].opened_at), (2, Timestamp(1)));
        let turns = book.update(&judge(&quiet(), &Thresholds::default()), Timestamp(3), Look::Pass);
        assert!(matches!(&*turns, [Turn::Resolved(old), Turn::Opened(new)]
            if old.resolved_at == Some(Timestamp(3)) && new.rule == Rule::HealthOptimal));
        assert_eq!(book.all().len(), 2, "the history is kept");
    }

    #[test]
    fn an_alert_counts_the_passes_that_saw_it_and_not_the_looks_between_them() {
        let mut book = AlertBook::default();
        let gone = Situation { system_faults: vec!["the last pass failed".into()], ..quiet() };
        let gone = judge(&gone, &Thresholds::default());
        for (at, look, times) in [(1, Look::Pass, 1), (2, Look::Between, 1), (3, Look::Pass, 2)] {
            book.update(&gone, Timestamp(at), look);
            let alert = book.open().next().unwrap();
            assert_eq!((alert.times, alert.updated_at), (times, Timestamp(at)));
        }
    }

    #[test]
    fn what_cannot_be_judged_yet_resolves_nothing() {
        let bad = Situation {
            system_faults: vec!["no index".into()],
            execution: Some(("A pass".to_owned(), Duration::from_secs(40))),
            ..with(|it| it.orphaned_tokens = 1)
        };
        let bad = judge(&bad, &Thresholds::default());
        let mut book = AlertBook::default();
        book.update(&bad, Timestamp(1), Look::Pass);
        let mut book = AlertBook::restored(book.all().into_iter().cloned().collect());
        let nothing = Situation::default();
        let ledger_alone = Situation { is_system_known: false, ..quiet() };
        let system_alone = Situation { ledger: None, ..quiet() };
        for (situation, open) in [(nothing, 3), (system_alone, 3), (ledger_alone, 1)] {
            let mut book = book.clone();
            let turns =
                book.update(&judge(&situation, &Thresholds::default()), Timestamp(2), Look::Pass);
            assert!(turns.iter().all(|turn| matches!(turn, Turn::Resolved(_))), "{turns:?}");
            assert_eq!(book.open().count(), open, "{situation:?}");
        }
        assert_eq!(book.update(&bad, Timestamp(3), Look::Pass), [], "they are open already");
    }

    #[test]
    fn without_wallets_an_alert_about_them_may_open_and_does_not_resolve() {
        let without = |seen| {
            let missing = |it: &mut LedgerFigures| {
                (it.orphaned_tokens, it.wallets_are_missing) = (seen, true);
            };
            judge(&with(missing), &Thresholds::default())
        };
        let mut book = AlertBook::default();
        assert_eq!(
            book.update(&without(1), Timestamp(1), Look::Pass).len(),
            1,
            "one is without in any case"
        );
        book.update(&without(0), Timestamp(2), Look::Pass);
        assert!(book.open().any(|alert| alert.rule == Rule::OrphanedTokens));
    }

    #[test]
    fn the_history_is_bounded_and_open_alerts_stay() {
        let mut book = AlertBook::default();
        let lasting = with(|it| it.orphaned_tokens = 1);
        book.update(&judge(&lasting, &Thresholds::default()), Timestamp(0), Look::Pass);
        for at in 0..i64::try_from(HISTORY_MAX).unwrap() {
            let faults = if at % 2 == 0 { vec!["gone".to_owned()] } else { Vec::new() };
            let situation = Situation { system_faults: faults, ..lasting.clone() };
            book.update(&judge(&situation, &Thresholds::default()), Timestamp(at), Look::Pass);
            book.update(&judge(&lasting, &Thresholds::default()), Timestamp(at), Look::Pass);
        }
        assert!(book.all().len() <= HISTORY_MAX);
        assert!(book.open().any(|alert| alert.id == 1));
    }
}
