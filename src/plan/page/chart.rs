//! The charts: bars as inline SVG, everything that is read as text.
//!
//! A bar stretches with the page and its label does not, so that a chart reads as well on a phone and on
//! paper. Every bar's figures stand beside it or in the table below the chart.

use super::figures::{Figures, Largest, Sum};
use super::html::Html;
use crate::model::Timestamp;
use crate::plan::size::Size;
use std::collections::BTreeMap;

/// Most bars of the chart of time: beyond it, days become months and months years.
const PERIODS_MAX: i64 = 62;
/// Length of the longest bar, in the units of its drawing.
const BAR_UNITS: i128 = 1_000;

/// All charts.
pub(super) fn charts(html: &mut Html, figures: &Figures) {
    if figures.deltas_total == 0 && figures.mints.total.records == 0 {
        return;
    }
    html.markup("<section id=charts><h2>Where the damage lies</h2><div class=charts>");
    time(html, figures);
    sizes(html, &figures.sizes);
    figure(html, "<figure class=tall>", "Users with the largest correction");
    largest(html, "without an npub", &figures.users, |sum| -sum.delta);
    figure(html, "<figure>", "Correction by mint");
    largest(html, "without a mint", &figures.mints, |sum| sum.amount);
    html.markup("</div></section>");
}

/// `units` of a bar for `value`, where `most` has [`BAR_UNITS`]; a value above zero has at least one.
fn units(value: i128, most: i128) -> i128 {
    match value {
        ..=0 => 0,
        _ => (value.saturating_mul(BAR_UNITS) / most.max(1)).clamp(1, BAR_UNITS),
    }
}

fn figure(html: &mut Html, open: &'static str, title: &'static str) {
    html.markup(open).markup("<figcaption>").markup(title).markup("</figcaption>");
}

/// One row of a chart whose bars lie: label, bar, figures.
fn lying_bar(html: &mut Html, value: i128, most: i128) {
    html.markup("<svg class=bar viewBox=\"0 0 1000 1\" preserveAspectRatio=none aria-hidden=true>");
    html.markup("<rect width=").digits(units(value, most)).markup(" height=1 /></svg>");
}

fn sizes(html: &mut Html, sizes: &BTreeMap<Size, Sum>) {
    let most = sizes.values().map(|sum| i128::from(sum.records)).max().unwrap_or(0);
    figure(html, "<figure>", "Records by amount");
    html.markup("<ul class=bars>");
    for (size, sum) in sizes {
        html.markup("<li><span class=label>");
        match size {
            Size::NotAnAmount => html.markup("not an amount"),
            Size::Negative => html.markup("below zero"),
            Size::Digits(0) => html.markup("0"),
            Size::Digits(digits) => {
                let (from, to) = Size::range(*digits);
                html.number(from).markup(" – ").number(to)
            }
        };
        html.markup("</span><span class=value>").counted(sum.records, "record").markup("</span>");
        lying_bar(html, sum.records.into(), most);
    }
    html.markup("</ul></figure>");
}

fn largest(html: &mut Html, nameless: &'static str, all: &Largest, weight: fn(&Sum) -> i128) {
    let most = all.groups.first().map_or(0, |(_, sum)| weight(sum));
    html.markup("<ul class=bars>");
    for (name, sum) in &all.groups {
        html.markup("<li><span class=\"label name\">").cell(name, nameless);
        html.markup("</span><span class=value>").number(weight(sum)).markup("</span>");
        lying_bar(html, weight(sum), most);
    }
    if all.others > 0 {
        html.markup("<li class=others><span class=label>and ").number(all.others);
        html.markup(" more</span><span class=value>").number(weight(&all.of_others));
        html.markup("</span>");
    }
    html.markup("</ul></figure>");
}

/// A span of time that a bar stands for.
#[derive(Debug, Clone, Copy)]
enum Period {
    Day,
    Month,
    Year,
}

impl Period {
    fn noun(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        }
    }

    /// The number of the period that a day, in days since 1970, lies in.
    fn of(self, day: i64) -> i64 {
        let date = date(day);
        let part = |from, to| date.get(from..to).and_then(|part| part.parse().ok()).unwrap_or(0);
        let (year, month): (i64, i64) = (part(0, 4), part(5, 7));
        match self {
            Period::Day => day,
            Period::Month => year * 12 + month - 1,
            Period::Year => year,
        }
    }

    fn name(self, number: i64) -> String {
        match self {
            Period::Day => date(number),
            Period::Month => format!("{}-{:02}", number.div_euclid(12), number.rem_euclid(12) + 1),
            Period::Year => number.to_string(),
        }
    }
}

/// `YYYY-MM-DD`.
fn date(day: i64) -> String {
    Timestamp(day * 86_400_000).to_string().chars().take(10).collect()
}

fn time(html: &mut Html, figures: &Figures) {
    let (Some((&first, _)), Some((&last, _))) =
        (figures.days.first_key_value(), figures.days.last_key_value())
    else {
        return;
    };
    let span = |period: Period| period.of(last) - period.of(first);
    let period = [Period::Day, Period::Month, Period::Year]
        .into_iter()
        .find(|period| span(*period) < PERIODS_MAX)
        .unwrap_or(Period::Year);
    let mut sums: BTreeMap<i64, Sum> =
        (period.of(first)..=period.of(last)).map(|number| (number, Sum::default())).collect();
    for (day, sum) in &figures.days {
        let of_period = sums.entry(period.of(*day)).or_default();
        of_period.records += sum.records;
        of_period.amount += sum.amount;
    }
    html.markup("<figure class=time><figcaption>Amount by the ").markup(period.noun());
    html.markup(" in which the payout was recorded</figcaption>");
    columns(html, period, &sums);
    html.markup("<p class=axis><span>").text(&period.name(period.of(first)));
    html.markup("</span><span>").text(&period.name(period.of(last))).markup("</span></p>");
    if figures.undated.records > 0 {
        html.markup("<p class=note>").counted(figures.undated.records, "record");
        html.markup(" without a usable date of creation, ").number(figures.undated.amount);
        html.markup(" in all, not drawn.</p>");
    }
    time_table(html, period, &sums);
    html.markup("</figure>");
}

fn columns(html: &mut Html, period: Period, sums: &BTreeMap<i64, Sum>) {
    let most = sums.values().map(|sum| sum.amount).max().unwrap_or(0);
    html.markup("<p class=axis><span>").number(most.max(0)).markup("</span></p>");
    html.markup("<svg class=columns preserveAspectRatio=none aria-hidden=true viewBox=\"0 0 ");
    html.digits(sums.len() as u64 * 10).markup(" 1000\">");
    for (place, (number, sum)) in (0_i128..).zip(sums) {
        let height = units(sum.amount, most);
        html.markup("<rect x=").digits(place * 10 + 1).markup(" y=").digits(BAR_UNITS - height);
        html.markup(" width=8 height=").digits(height).markup("><title>");
        html.text(&period.name(*number)).markup(": ").number(sum.amount).markup(" in ");
        html.counted(sum.records, "record").markup("</title></rect>");
    }
    html.markup("</svg>");
}

fn time_table(html: &mut Html, period: Period, sums: &BTreeMap<i64, Sum>) {
    html.markup("<details><summary>The figures</summary><table class=small><thead><tr><th>");
    html.markup(period.noun()).markup("<th class=n>records<th class=n>amount<tbody>");
    for (number, sum) in sums.iter().filter(|(_, sum)| sum.records > 0) {
        html.markup("<tr><td>").text(&period.name(*number));
        html.markup("<td class=n>").number(sum.records);
        html.markup("<td class=n>").number(sum.amount);
    }
    html.markup("</table></details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share_and_never_longer_than_the_longest() {
        assert_eq!(units(0, 10), 0);
        assert_eq!(units(-5, 10), 0);
        assert_eq!(units(5, 10), 500);
        assert_eq!(units(10, 10), 1_000);
        assert_eq!(units(1, i128::MAX), 1);
        assert_eq!(units(i128::MAX, 1), 1_000);
        assert_eq!(units(5, 0), 1_000);
    }

    #[test]
    fn periods_have_the_names_of_the_calendar() {
        let day = 20_148; // 2025-03-01
        assert_eq!(Period::Day.name(Period::Day.of(day)), "2025-03-01");
        assert_eq!(Period::Month.name(Period::Month.of(day)), "2025-03");
        assert_eq!(Period::Month.name(Period::Month.of(day) - 3), "2024-12");
        assert_eq!(Period::Year.name(Period::Year.of(day)), "2025");
    }

    fn shown(figures: &Figures) -> String {
        let mut html = Html::default();
        charts(&mut html, figures);
        html.finish()
    }

    /// Figures of one record of each of these days.
    fn recorded(days: &[i64]) -> Figures {
        let sum = Sum { records: 1, amount: 5, delta: -5 };
        let total = Sum { records: days.len() as u64, ..Sum::default() };
        Figures {
            days: days.iter().map(|day| (*day, sum)).collect(),
            mints: Largest { total, ..Largest::default() },
            ..Figures::default()
        }
    }

    #[test]
    fn there_are_charts_when_there_is_something_to_draw() {
        assert_eq!(shown(&Figures::default()), "");
        assert!(shown(&Figures { deltas_total: 1, ..Figures::default() }).contains("id=charts"));
        assert!(shown(&recorded(&[1])).contains("id=charts"));
    }

    #[test]
    fn a_chart_of_time_has_at_most_62_bars_of_days_or_months() {
        for (last, noun, bars) in [
            (61, "day", 62),
            (62, "month", 3),
            (1_884, "month", 62), // 1975-02-28
            (1_885, "year", 6),
            (47_481, "year", 130),
        ] {
            let shown = shown(&recorded(&[0, last]));
            assert!(shown.contains(&format!("Amount by the {noun} in which")), "{last}");
            assert_eq!(shown.matches("<title>").count(), bars, "{last}");
            let table = shown.split("<details>").nth(1).unwrap();
            let table = table.split("</details>").next().unwrap();
            assert_eq!(table.matches("<tr><td>").count(), 2, "rows of those with records");
        }
    }

    #[test]
    fn records_without_a_usable_date_are_said_and_not_drawn() {
        let mut figures = recorded(&[1]);
        assert!(!shown(&figures).contains("usable date"));
        figures.undated = Sum { records: 2, amount: 1_234, delta: 0 };
        let shown = shown(&figures);
        let said = "2 records without a usable date of creation, 1,234 in all, not drawn.";
        assert!(shown.contains(said), "{shown}");
    }
}
