//! What the page says in words, and the tables that belong to the words.

use super::PageSubject;
use super::figures::{Figures, Sum};
use super::html::Html;
use crate::analysis::{ShownCell, SpentAt};
use crate::model::{FindingCode, JsonAmount};
use crate::snapshot::format::{Consistency, Presence};
use serde_json::Value;

/// Share in percent with one decimal, rounded down.
fn percent(html: &mut Html, part: u64, whole: u64) {
    let tenths = (u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(1_000);
    let tenths = u64::try_from(tenths).unwrap_or(0);
    html.number(tenths / 10).markup(".").digits(tenths % 10).markup(" %");
}

/// Name and headline.
pub(super) fn title(html: &mut Html, subject: &PageSubject<'_>) {
    // What is wrong with the ledger, whatever of it this plan can correct.
    let faults = subject.summary.stats.problematic_tokens;
    let finding = &subject.summary.findings[FindingCode::InconsistentStatus.as_str()];
    html.markup("<p class=eyebrow>Ledger repair report</p><h1>");
    if faults == 0 {
        html.markup("Nothing to correct: no payout is still counted as money.</h1>");
    } else {
        html.counted(faults, "payout").markup(" still ");
        html.markup(if faults == 1 { "counts" } else { "count" });
        html.markup(" as money. Balances are <span class=key>");
        html.number(amount_in(finding).map_or(0, |amount| amount.0));
        html.markup("</span> too high.</h1>");
    }
    let snapshot = &subject.plan.snapshot;
    html.markup("<p class=subject>Database <bdi>");
    let db = snapshot.db.as_deref().unwrap_or("(unnamed)");
    html.cell(&ShownCell::of(db.as_bytes()), "–").markup("</bdi>, plan <code>");
    html.text(&subject.sha256.to_string()[..12]).markup("…</code>, repair time ");
    html.text(&subject.plan.rule.repair_time.to_string()).markup("</p>");
}

/// What happened, what the repair does, and the key figures.
pub(super) fn summary(html: &mut Html, subject: &PageSubject<'_>) {
    let (stats, impact) = (&subject.summary.stats, &subject.summary.impact);
    let left = subject.plan.left();
    html.markup("<section id=summary><h2>Summary</h2><dl class=figures>");
    for (name, count) in [
        ("Records to correct", i128::from(impact.tokens_to_migrate)),
        ("Balances fall by", impact.total_amount_affected.0),
        ("Users affected", impact.affected_users.into()),
        ("Left as they are", left.into()),
    ] {
        html.markup("<div><dt>").markup(name).markup("<dd>").number(count).markup("</div>");
    }
    html.markup("</dl>");
    html.markup("<p><strong>What happened.</strong> When a user pays a Lightning invoice, the ");
    html.markup(
        "wallet service pays it with the user’s ecash (a <em>melt</em>) and must then mark ",
    );
    html.markup("the record as spent. For ").number(stats.problematic_tokens).markup(" of ");
    html.number(stats.total_melted_tokens).markup(" payouts it did not: the money is gone, and ");
    html.markup("the record still counts towards the balance that the user sees.</p>");
    html.markup("<p><strong>What the repair does.</strong> It marks ");
    html.counted(impact.tokens_to_migrate, "record").markup(" of ");
    html.counted(impact.affected_users, "user").markup(" as spent. Nothing else changes: no ");
    html.markup("amount, no proof, no other record; nothing is created or deleted, and no money ");
    html.markup("moves. Balances fall because they were overstated; nobody loses money that they ");
    html.markup("had. Each record is changed only if it is byte for byte what this plan saw, and ");
    html.markup("every change can be taken back byte for byte.</p>");
    html.markup("<p><strong>Payouts booked as spent:</strong> ");
    let booked = stats.spent_melted_tokens;
    percent(html, booked, stats.total_melted_tokens);
    html.markup(" before the repair, ");
    percent(html, booked.saturating_add(impact.tokens_to_migrate), stats.total_melted_tokens);
    html.markup(
        " after it.</p><p class=note>Amounts are in the ledger’s own unit, sat or msat as ",
    );
    html.markup("the wallets are set up. This report was made from a copy of the data before ");
    html.markup("anything was changed: it says what <em>will</em> change.</p></section>");
}

/// Σ of the balance changes = −Σ of the amounts, by mint and in all.
pub(super) fn reconciliation(html: &mut Html, figures: &Figures) {
    html.markup(
        "<section id=sums><h2>Do the sums agree?</h2><p>The amounts of the corrected records ",
    );
    html.markup("(<code>changes.csv</code>) and the changes of the balances ");
    html.markup("(<code>balance_deltas.csv</code>) are added up apart from each other. Together ");
    html.markup("they must be 0 at every mint: no value appears or disappears.</p>");
    html.markup(
        "<div class=scroll><table><thead><tr><th>Mint<th class=n>Records<th class=n>Their ",
    );
    html.markup("amounts<th class=n>Balances change by<th class=n>Together<tbody>");
    for (mint, sum) in &figures.mints.groups {
        html.markup("<tr><td class=name>").cell(mint, "no mint");
        sums(html, sum);
    }
    if figures.mints.others > 0 {
        html.markup("<tr><td>").counted(figures.mints.others, "other mint");
        sums(html, &figures.mints.of_others);
    }
    html.markup("<tfoot><tr><th>All");
    sums(html, &figures.mints.total);
    html.markup("</table></div></section>");
}

fn sums(html: &mut Html, sum: &Sum) {
    let together = sum.amount + sum.delta;
    html.markup("<td class=n>").number(sum.records).markup("<td class=n>").number(sum.amount);
    html.markup("<td class=n>").number(sum.delta).markup("<td class=n>").number(together);
    html.markup(if together == 0 {
        " <b class=good>agrees</b>"
    } else {
        " <b class=bad>DIFFERS</b>"
    });
}

/// What a finding is, for somebody who does not know the software.
fn meaning(code: FindingCode) -> &'static str {
    match code {
        FindingCode::InconsistentStatus => "A payout that still counts as money: the fault itself",
        FindingCode::DuplicateSecrets => "The same ecash proof is stored more than once",
        FindingCode::OrphanedTokens => "A record belongs to no known wallet",
        FindingCode::InvalidAmounts => "The amount is missing, negative or not a whole number",
        FindingCode::MissingMetadata => "It is not recorded where the record came from",
        FindingCode::NegativeBalance => "A user’s sum at a mint is below zero",
        FindingCode::AmountMismatch => "The stated amount is not the sum of its proofs",
        FindingCode::DoubleCounted => {
            "Money is counted twice: spent in one place, available in another"
        }
        FindingCode::SpentAtMismatch => "Spent without a date, or dated without being spent",
        FindingCode::UnknownStatus => "A status or kind of transaction that nobody knows",
        FindingCode::DuplicateTransactionId => "Several records share one transaction number",
        FindingCode::WalletMismatch => "User or mint differ from the wallet’s",
        FindingCode::DuplicateField => "A field occurs twice in one record: never written to",
        FindingCode::MalformedNpub => "The user’s key is not a valid one",
        FindingCode::MissingChange => "A payout took more than it cost, and no change came back",
    }
}

/// One row for each kind of finding.
pub(super) fn overview(html: &mut Html, subject: &PageSubject<'_>) {
    html.markup("<div class=scroll><table><thead><tr><th>Finding<th>Severity<th class=n>Count");
    html.markup("<th class=n>Users<th class=n>Amount<th>This repair<tbody>");
    for code in FindingCode::ALL {
        let finding = &subject.summary.findings[code.as_str()];
        let count = finding["count"].as_u64();
        html.markup(if count == Some(0) { "<tr class=none><td>" } else { "<tr><td>" });
        html.markup(meaning(*code)).markup("<br><code>").markup(code.as_str()).markup("</code>");
        html.markup("<td>").markup(code.severity().as_str()).markup("<td class=n>");
        match count {
            Some(count) => html.number(count),
            None => html.markup("unknown: no wallets in the copy"),
        };
        html.markup("<td class=n>").number(finding["affectedUsers"].as_u64().unwrap_or(0));
        html.markup("<td class=n>");
        if let Some(JsonAmount(amount)) = amount_in(finding) {
            html.number(amount);
        }
        html.markup("<td>");
        match (code, count) {
            (FindingCode::InconsistentStatus, Some(1..)) => {
                html.markup("corrects ").number(subject.plan.totals.changes)
            }
            (_, Some(1..)) => html.markup("lists only"),
            _ => html.markup("–"),
        };
    }
    html.markup("</table></div>");
}

fn amount_in(finding: &Value) -> Option<JsonAmount> {
    serde_json::from_value(finding.get("amount")?.clone()).ok()
}

fn reason(word: &str) -> &'static str {
    match word {
        "duplicate_field" => {
            "A field that the repair would set occurs twice in the record. Writing to such a record \
             could make the database’s copies differ; a person must decide what it should be."
        }
        "no_room" => {
            "The record, or what is kept to undo its repair, would be larger than the database can store."
        }
        "no_own_time" => {
            "The plan was asked to use the record’s own time, and it has none that is a date."
        }
        "no_id" => "The record has no identifier, so it could not be found again.",
        _ => "Unknown to this version.",
    }
}

/// What the repair leaves, and why.
pub(super) fn not_changed(html: &mut Html, subject: &PageSubject<'_>) {
    html.markup("<section id=left><h2>What is not changed, and why</h2>");
    let left = subject.plan.not_changed.iter().filter(|(_, count)| **count > 0);
    html.markup("<ul>");
    for (word, count) in left {
        html.markup("<li><strong>").counted(*count, "payout");
        html.markup(" booked wrongly and left as they are.</strong> ").markup(reason(word));
        html.markup(" (<code>").text(word).markup("</code>)");
    }
    html.markup("<li><strong>All other findings.</strong> The repair follows one rule, ");
    html.markup(
        "<code>melted_unspent</code>, and never guesses: a record that is wrong in another ",
    );
    html.markup("way is listed in <code>findings.csv</code> for people, and stays as it is.");
    html.markup("<li><strong>All other records</strong>, and every other field of the corrected ");
    html.markup(
        "ones: only <code>status</code>, <code>spent_at</code> and <code>updatedAt</code> ",
    );
    html.markup("(where there is one) are set.");
    html.markup("<li><strong>Records that change before the repair.</strong> They are no longer ");
    html.markup("what this plan saw; they are left alone and reported.</ul></section>");
}

fn row(html: &mut Html, name: &'static str) {
    html.markup("<tr><th scope=row>").markup(name).markup("<td>");
}

/// What the report was made from, and how to check it oneself.
pub(super) fn provenance(html: &mut Html, subject: &PageSubject<'_>) {
    html.markup("<section id=provenance><h2>Where this comes from, and how to check it</h2>");
    html.markup("<div class=scroll><table class=facts><tbody>");
    row(html, "Plan hash");
    html.hash(subject.sha256);
    row(html, "Hash of the data it was made from");
    html.hash(subject.plan.snapshot.sha256);
    source(html, subject);
    row(html, "Made by");
    html.cell(&ShownCell::of(subject.plan.tool.as_bytes()), "–");
    row(html, "Repair time");
    html.text(&subject.plan.rule.repair_time.to_string());
    html.markup(match subject.plan.rule.spent_at {
        SpentAt::Repair => ", which becomes the date of spending",
        SpentAt::Created => "; each record’s date of creation becomes the date of spending",
        SpentAt::Updated => "; each record’s last update becomes the date of spending",
    });
    html.markup("</table></div>");
    files(html, subject);
    html.markup(
        "<h3>Check it yourself</h3><p>In the plan’s directory, with nothing but common tools:",
    );
    html.markup("</p><pre>sha256sum -c SHA256SUMS          # every file is as it was written\n");
    html.markup("sed 2d plan.json | sha256sum     # prints the plan hash above\n");
    html.markup(
        "bsondump changes.bson | less     # every change: before, after, and both hashes</pre>",
    );
    html.markup(
        "<p>With remelt, every figure of every report anew, from the changes and from the ",
    );
    html.markup("data: </p><pre>remelt audit . --snapshot SNAPSHOT</pre><p>The plan hash binds ");
    html.markup("<code>changes.bson</code> and the CSV files. Write it down, or sign it: whoever ");
    html.markup("alters one byte of them can’t keep it.</p></section>");
}

fn source(html: &mut Html, subject: &PageSubject<'_>) {
    let snapshot = &subject.plan.snapshot;
    row(html, "Taken from");
    match &snapshot.source {
        None => {
            html.markup("a dump of another program, which does not say where it came from");
        }
        Some(source) => {
            html.cell(&ShownCell::of(source.host.as_bytes()), "–");
            if let Some(set) = &source.replica_set {
                html.markup(", replica set ").cell(&ShownCell::of(set.as_bytes()), "–");
            }
            html.markup(", MongoDB ").cell(&ShownCell::of(source.server_version.as_bytes()), "–");
        }
    }
    row(html, "Point in time");
    match &snapshot.cluster_time {
        None => html.markup("not recorded"),
        Some(time) => html.markup("cluster time ").cell(&ShownCell::of(time.as_bytes()), "–"),
    };
    html.markup(match snapshot.consistency {
        Consistency::Snapshot => ": all records are of this one moment",
        Consistency::None => {
            "; <strong>records may be of different moments</strong> (exported while others wrote)"
        }
        Consistency::Foreign => "; nothing is known of whether all records are of one moment",
    });
    row(html, "Size");
    html.counted(snapshot.tokens_documents, "token record").markup(", ");
    match snapshot.wallets_documents {
        Some(wallets) => html.counted(wallets, "wallet"),
        None => html.markup("no wallets (checks that need them were not made)"),
    };
    html.markup(", ").counted(snapshot.bytes, "byte");
    if snapshot.secrets != Presence::Full {
        row(html, "Secrets");
        html.markup("were removed from this copy; its plan can’t be applied");
    }
}

fn files(html: &mut Html, subject: &PageSubject<'_>) {
    html.markup("<h3>The files</h3><div class=scroll><table><thead><tr><th>File<th class=n>Bytes");
    html.markup("<th>SHA-256<tbody>");
    for report in &subject.plan.reports {
        html.markup("<tr><td><code>reports/").text(&report.name).markup("</code><td class=n>");
        html.number(report.bytes).markup("<td>").hash(report.sha256);
    }
    html.markup("</table></div><p class=note><code>changes.bson</code> holds the ");
    html.counted(subject.plan.totals.changes, "change").markup(" in ");
    let batches = subject.plan.batches.len() as u64;
    html.number(batches).markup(if batches == 1 { " batch" } else { " batches" });
    html.markup(", whose hashes stand in <code>plan.json</code>.</p>");
}

/// The words that the page can't do without.
pub(super) fn words(html: &mut Html) {
    html.markup(
        "<section id=words><h2>Words</h2><dl class=words>\
         <dt>Record<dd>One entry of the ledger (a “token document”): ecash that a user received, sent, \
         bought, paid out or got back as change.\
         <dt>Melt, payout<dd>Paying a Lightning invoice with ecash. The ecash is gone afterwards.\
         <dt>Mint<dd>The issuer that stands behind the ecash.\
         <dt>npub<dd>A user’s public key; the ledger knows users by nothing else.\
         <dt>Proof, secret<dd>What makes ecash money: whoever knows the secret can spend it. No secret \
         stands in this report.\
         <dt>SHA-256, hash<dd>A fingerprint of data: if one byte changes, so does the fingerprint.\
         </dl></section>",
    );
}

/// Lines to sign on, on paper.
pub(super) fn sign_off(html: &mut Html) {
    html.markup(
        "<section class=sign-off><h2>Sign-off</h2><table><tbody><tr><td>Prepared by<td>Date",
    );
    html.markup("<tr><td>Reviewed by<td>Date<tr><td>Approved by<td>Date</table></section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{NotChanged, ShownCell};
    use crate::plan::page::figures::Largest;

    #[test]
    fn every_reason_for_leaving_a_token_is_explained_in_its_own_words() {
        let unknown = reason("unheard of");
        let mut said: Vec<&str> = NotChanged::ALL.iter().map(|it| reason(it.as_str())).collect();
        assert!(!said.contains(&unknown), "{said:?}");
        said.sort_unstable();
        said.dedup();
        assert_eq!(said.len(), NotChanged::ALL.len());
    }

    #[test]
    fn mints_beyond_the_largest_are_one_row_of_the_sums_when_there_are_any() {
        let sum = |amount, delta| Sum { records: 1, amount, delta };
        let mints = Largest {
            groups: vec![(ShownCell::of(b"m"), sum(5, -5))],
            others: 0,
            of_others: Sum::default(),
            total: sum(5, -5),
        };
        let mut figures = Figures { mints, ..Figures::default() };
        let shown = |figures: &Figures| {
            let mut html = Html::default();
            reconciliation(&mut html, figures);
            html.finish()
        };
        let alone = shown(&figures);
        assert!(!alone.contains("other mint"), "{alone}");
        assert_eq!((alone.matches("agrees").count(), alone.matches("DIFFERS").count()), (2, 0));
        figures.mints.others = 2;
        figures.mints.of_others = sum(3, -2);
        figures.mints.total = sum(8, -7);
        let more = shown(&figures);
        assert!(more.contains("<tr><td>2 other mints<td class=n>1<td class=n>3<td class=n>-2"));
        assert_eq!((more.matches("agrees").count(), more.matches("DIFFERS").count()), (1, 2));
    }
}
