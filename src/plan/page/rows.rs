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
        if rows.bytes() + row.bytes() > ROWS_BYTES_MAX {
            break;
        }
        rows.part(&row);
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
        if rows.bytes() + row.bytes() > ROWS_BYTES_MAX {
            break;
        }
        rows.part(&row);
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
