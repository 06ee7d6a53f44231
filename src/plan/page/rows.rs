//! The tables that a reader sorts and searches: balances, and findings.
//!
//! Plain tables in the markup; the page's script adds searching, sorting and paging. What is left out is
//! said above the table, with the file that has it all.

use super::figures::Figures;
use super::html::Html;
use super::{PageSubject, prose};
use crate::analysis::ROWS_SHOWN_MAX;
use crate::model::FindingCode;

/// Most bytes of each table's rows: with everything else below the bound of a page.
const ROWS_BYTES_MAX: usize = 2_000_000;

/// Rows that are printed, as the page's style has it.
const PRINTED_MAX: u64 = 25;

/// The balances that the repair changes.
pub(super) fn deltas(html: &mut Html, figures: &Figures) {
    html.markup("<section id=balances><h2>Whose balance changes</h2>");
    if figures.deltas_total == 0 {
        html.markup("<p>Nobody's.</p></section>");
        return;
    }
    let mut rows = Html::default();
    let mut shown: u64 = 0;
    for cells in &figures.deltas {
        let mut row = Html::default();
        row.markup("<tr><td class=name>").cell(&cells[0], "no npub");
        row.markup("<td class=name>").cell(&cells[1], "no mint");
        for number in [2, 3, 4, 8] {
            row.markup("<td class=n>").integer(&cells[number]);
        }
        if !add(&mut rows, &row) {
            break;
        }
        shown += 1;
    }
    html.markup("<p>One row for each user and mint, the largest correction first. ");
    html.markup("“Available” is what the wallet shows as spendable, before and after.</p>");
    extent(html, shown, figures.deltas_total, "balance_deltas.csv");
    html.markup("<div class=scroll><table data-rows=balances><caption>Balances before and after");
    html.markup("</caption><thead><tr><th>User (npub)<th>Mint<th class=n>Records<th class=n>");
    html.markup("Available before<th class=n>Available after<th class=n>Change<tbody>");
    end(html, &rows, shown);
}

/// Adds `row` unless the rows would have too many bytes.
fn add(rows: &mut Html, row: &Html) -> bool {
    let has_room = rows.bytes() + row.bytes() <= ROWS_BYTES_MAX;
    if has_room {
        rows.part(row);
    }
    has_room
}

fn end(html: &mut Html, rows: &Html, shown: u64) {
    html.part(rows).markup("</table></div>");
    if shown > PRINTED_MAX {
        html.markup("<p class=\"note on-paper\">On paper: ").number(PRINTED_MAX);
        html.markup(" rows; the file has all of them.</p>");
    }
    html.markup("</section>");
}

/// How much of a file a table shows.
fn extent(html: &mut Html, shown: u64, total: u64, file: &'static str) {
    html.markup("<p class=extent>");
    if shown < total {
        html.markup("<strong>Not all rows are on this page:</strong> it shows the first ");
        html.number(shown).markup(" of ").number(total).markup("; all of them are in <code>");
        html.markup(file).markup("</code>, with more columns.");
    } else {
        html.markup("All ").counted(total, "row").markup(" of <code>").markup(file);
        html.markup("</code>, which has more columns.");
    }
    html.markup("</p>");
}

/// What was found, by kind and row by row.
pub(super) fn findings(html: &mut Html, subject: &PageSubject<'_>) {
    html.markup("<section id=findings><h2>What was found in the ledger</h2>");
    html.markup("<p>Fifteen checks were made on every record. Only the first is what this repair ");
    html.markup("corrects; the others are listed for people to look into.</p>");
    prose::overview(html, subject);
    let mut rows = Html::default();
    let mut shown: u64 = 0;
    for (code, [token_id, npub, mint, amount, detail]) in &subject.findings.first {
        let mut row = Html::default();
        row.markup("<tr><td class=name>").markup(code.as_str());
        row.markup("<td class=name>").cell(token_id, "–");
        row.markup("<td class=name>").cell(npub, "no npub");
        row.markup("<td class=name>").cell(mint, "no mint");
        row.markup("<td class=n>").integer(amount);
        row.markup("<td class=detail>").cell(detail, "–");
        if !add(&mut rows, &row) {
            break;
        }
        shown += 1;
    }
    let total = FindingCode::ALL.iter().map(|code| subject.findings.rows(*code)).sum();
    if total == 0 {
        html.markup("</section>");
        return;
    }
    html.markup("<h3>Row by row</h3>");
    if shown < total {
        html.markup("<p>At most ").number(ROWS_SHOWN_MAX as u64).markup(" rows of each kind.</p>");
    }
    extent(html, shown, total, "findings.csv");
    html.markup("<div class=scroll><table data-rows=findings data-choice=0><caption>Findings");
    html.markup("</caption><thead><tr><th>Finding<th>Record<th>User (npub)<th>Mint");
    html.markup("<th class=n>Amount<th>Detail<tbody>");
    end(html, &rows, shown);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::ShownCell;

    /// The table of so many balances, each of a user whose name has `bytes` bytes.
    fn balances(count: usize, bytes: usize) -> String {
        let mut row = std::array::from_fn(|_| ShownCell::of(b"1"));
        row[0] = ShownCell { text: "n".repeat(bytes), chars: 1 };
        let figures =
            Figures { deltas: vec![row; count], deltas_total: count as u64, ..Figures::default() };
        let mut html = Html::default();
        deltas(&mut html, &figures);
        html.finish()
    }

    /// Bytes of the rows in it.
    fn row_bytes(html: &str) -> usize {
        html.split("<tbody>").nth(1).unwrap().split("</table>").next().unwrap().len()
    }

    #[test]
    fn rows_are_shown_up_to_two_megabytes_and_the_page_says_how_many() {
        // With a name of so many bytes a row has a million.
        let name = 1_000_000 - row_bytes(&balances(1, 0));
        let whole = balances(2, name);
        assert_eq!(row_bytes(&whole), ROWS_BYTES_MAX);
        assert!(whole.contains("All 2 rows of <code>balance_deltas.csv"));
        let cut = balances(3, name);
        assert_eq!(row_bytes(&cut), ROWS_BYTES_MAX);
        assert!(cut.contains("it shows the first 2 of 3; all of them"));
        assert_eq!(row_bytes(&balances(2, name + 1)), 1_000_001, "the second would be beyond");
    }

    #[test]
    fn paper_says_that_it_has_25_rows_when_there_are_more() {
        assert!(!balances(25, 1).contains("on-paper"));
        assert!(balances(26, 1).contains("On paper: 25 rows; the file has all of them."));
    }
}
