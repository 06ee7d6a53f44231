//! `report.html` in a real browser: it opens by itself, its tables work, and no input becomes markup.

use crate::support::browser::{Browser, View, file_url};
use crate::support::dumps::{build_options, make_plan, write_dump};
use crate::support::raw::{array, date, document, element, int32, string};
use remelt::analysis::SpentAt;
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::plan::PAGE_BYTES_MAX;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The page of the plan for these documents.
fn page_of(root: &Path, tokens: &[u8], wallets: Option<&[u8]>) -> PathBuf {
    write_dump(root, tokens, wallets);
    let plan = root.join("plan");
    make_plan(&root.join("nctool"), &plan, &build_options(SpentAt::Repair, 2, 1 << 30, 1)).unwrap();
    plan.join("reports/report.html")
}

fn damaged(root: &Path, tokens: u64) -> PathBuf {
    let options = GenerateOptions { tokens, seed: 3, damage: true };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    page_of(root, &tokens, Some(&wallets))
}

/// The cells of a table's rows as they are shown.
fn rows(browser: &mut Browser, table: &str) -> Vec<Vec<String>> {
    let rows = browser.evaluate(&format!(
        "[...document.querySelector('table[data-rows={table}]').tBodies[0].rows]\
         .map(row => [...row.cells].map(cell => cell.textContent))"
    ));
    serde_json::from_value(rows).unwrap()
}

fn report_rows(page: &Path, name: &str) -> Vec<csv::StringRecord> {
    let text = fs::read(page.with_file_name(name)).unwrap();
    csv::Reader::from_reader(&*text).records().map(Result::unwrap).collect()
}

fn integer(cell: &str) -> i128 {
    cell.replace(',', "").parse().unwrap()
}

#[test]
fn the_page_opens_from_disk_without_a_request_or_a_complaint() {
    let root = tempfile::tempdir().unwrap();
    let page = damaged(root.path(), 3_000);
    let mut browser = Browser::start();
    let url = file_url(&page);
    for (width, is_dark, has_scripts) in
        [(1280, false, true), (1280, true, true), (360, false, true), (360, true, false)]
    {
        browser.allow_scripts(has_scripts);
        browser.view(View { width, height: 800, is_dark });
        browser.open(&url);
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{width}");
        assert_eq!(browser.requests(), [url.as_str()], "{width}");
        let overflow = "document.documentElement.scrollWidth - innerWidth";
        assert_eq!(browser.evaluate(overflow), 0, "at {width} the page is wider than the window");
    }
    assert!(browser.pdf().starts_with(b"%PDF"));
}

#[test]
fn the_page_says_what_the_reports_say() {
    let root = tempfile::tempdir().unwrap();
    let page = damaged(root.path(), 3_000);
    let mut browser = Browser::start();
    browser.allow_scripts(false);
    browser.open(&file_url(&page));
    let deltas = report_rows(&page, "balance_deltas.csv");
    let shown = rows(&mut browser, "balances");
    assert_eq!(shown.len(), deltas.len());
    for (row, expected) in shown.iter().zip(&deltas) {
        for (cell, column) in [(2, 2), (3, 3), (4, 4), (5, 8)] {
            assert_eq!(integer(&row[cell]), integer(&expected[column]));
        }
    }
    let summary: Value =
        serde_json::from_slice(&fs::read(page.with_file_name("summary.json")).unwrap()).unwrap();
    let figures = browser.evaluate(
        "[...document.querySelectorAll('.figures dd')].map(dd => +dd.textContent.replaceAll(',', ''))",
    );
    let plan: Value =
        serde_json::from_slice(&fs::read(root.path().join("plan/plan.json")).unwrap()).unwrap();
    let left: u64 =
        plan["notChanged"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let impact = &summary["impact"];
    assert_eq!(
        figures,
        json!([
            impact["tokensToMigrate"],
            impact["totalAmountAffected"],
            impact["affectedUsers"],
            left
        ])
    );
    let text = browser.evaluate("document.body.textContent");
    let text = text.as_str().unwrap();
    for hash in [&plan["sha256"], &plan["snapshot"]["sha256"], &plan["reports"][0]["sha256"]] {
        assert!(text.contains(hash.as_str().unwrap()), "{hash}");
    }
    assert_eq!(text.matches("agrees").count(), text.matches("DIFFERS").count() + 7, "{text}");
    assert!(left > 0 && text.contains("left as they are."));
}

#[test]
fn rows_are_sorted_searched_chosen_and_paged() {
    let root = tempfile::tempdir().unwrap();
    let page = damaged(root.path(), 3_000);
    let mut browser = Browser::start();
    browser.open(&file_url(&page));
    let deltas = report_rows(&page, "balance_deltas.csv");
    assert!(deltas.len() > 50, "{} rows make no second page", deltas.len());
    let first_page = rows(&mut browser, "balances");
    assert_eq!(first_page.len(), 50);

    let table = "document.querySelector('table[data-rows=balances]')";
    let click = |browser: &mut Browser, column: usize| {
        browser.evaluate(&format!("{table}.tHead.rows[0].cells[{column}].firstChild.click()"));
        browser.evaluate(&format!("{table}.tHead.rows[0].cells[{column}].ariaSort"))
    };
    let column = |rows: &[Vec<String>], column: usize| -> Vec<i128> {
        rows.iter().map(|row| integer(&row[column])).collect()
    };
    let mut expected: Vec<i128> = deltas.iter().map(|row| integer(&row[3])).collect();
    expected.sort_unstable();
    assert_eq!(click(&mut browser, 3), "descending");
    let largest: Vec<i128> = expected.iter().rev().take(50).copied().collect();
    assert_eq!(column(&rows(&mut browser, "balances"), 3), largest);
    assert_eq!(click(&mut browser, 3), "ascending");
    assert_eq!(column(&rows(&mut browser, "balances"), 3), expected[..50]);
    assert_eq!(click(&mut browser, 1), "ascending");
    let mints: Vec<String> =
        rows(&mut browser, "balances").into_iter().map(|row| row[1].clone()).collect();
    assert!(mints.is_sorted(), "{mints:?}");

    let tools = format!("{table}.parentElement.previousElementSibling");
    let said = |browser: &mut Browser| {
        browser.evaluate(&format!("{tools}.querySelector('[role=status]').textContent"))
    };
    let button = |browser: &mut Browser, number: usize| {
        browser.evaluate(&format!("{tools}.querySelectorAll('button')[{number}].click()"));
    };
    button(&mut browser, 1);
    let total = deltas.len();
    assert_eq!(said(&mut browser), format!("rows 51 to {} of {total}", total.min(100)));
    button(&mut browser, 0);
    assert_eq!(said(&mut browser), format!("rows 1 to 50 of {total}"));

    let npub = deltas.iter().map(|row| &row[0]).find(|npub| npub.starts_with("npub1")).unwrap();
    let search = |browser: &mut Browser, text: &str| {
        browser.evaluate(&format!(
            "{tools}.querySelector('input').value = {}; \
             {tools}.querySelector('input').dispatchEvent(new Event('input'))",
            json!(text)
        ));
    };
    search(&mut browser, &format!("{} https", npub.to_uppercase()));
    let found = rows(&mut browser, "balances");
    assert_eq!(found.len(), deltas.iter().filter(|row| row[0] == *npub).count());
    assert!(found.iter().all(|row| row[0] == *npub), "{found:?}");
    search(&mut browser, "no such row");
    assert_eq!(said(&mut browser), "no row");
    assert!(rows(&mut browser, "balances").is_empty());
    search(&mut browser, "");
    assert_eq!(rows(&mut browser, "balances").len(), 50);

    browser.evaluate(
        "document.querySelector('select').value = 'missing_change'; \
         document.querySelector('select').dispatchEvent(new Event('change'))",
    );
    let chosen = rows(&mut browser, "findings");
    assert!(
        !chosen.is_empty() && chosen.iter().all(|row| row[0] == "missing_change"),
        "{chosen:?}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What an attacker may write into identifiers.
const HOSTILE: [&str; 12] = [
    "<script>document.title = 'pwned'</script>",
    "</td></tr></table><script>document.title = 'pwned'</script>",
    "\"><img src=x onerror=\"document.title = 'pwned'\">",
    "'><svg onload=document.title='pwned'>",
    "<!--",
    "</script><script>document.title = 'pwned'</script>",
    "</style><meta http-equiv=refresh content=\"0;url=http://evil.example/\">",
    "&lt;b&gt; &#60;script&#62;",
    "<a href=javascript:document.title='pwned'>click</a>",
    "npub\u{202e}1drawkcab\u{2066}x\u{200b}\u{feff}",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "=HYPERLINK(\"http://evil.example\")\r\n\0\u{7f}",
];

fn hostile_token(number: usize, text: &str) -> Vec<u8> {
    document(&[
        element("_id", &string(format!("{text}{number}"))),
        element("npub", &string(text)),
        element("wallet_id", &string(text)),
        element("mint_url", &string(format!("{text}/mint"))),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("transaction_id", &string(text)),
        element("total_amount", &int32(7)),
        element("createdAt", &date(1_740_000_000_000)),
        element("proofs", &array(&[])),
    ])
}

#[test]
fn hostile_identifiers_are_shown_as_text_and_do_nothing() {
    let root = tempfile::tempdir().unwrap();
    let huge = format!("{}{}", "<b>x</b>".repeat(200_000), "end");
    let tokens: Vec<Vec<u8>> = HOSTILE
        .iter()
        .copied()
        .chain([huge.as_str()])
        .enumerate()
        .map(|(number, text)| hostile_token(number, text))
        .collect();
    let page = page_of(root.path(), &tokens.concat(), None);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.len() < 500_000, "{} bytes", text.len());
    assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\0', '\r', '\u{7f}']));
    assert_eq!(text.matches("<script>").count(), 1, "the page's own");
    assert_eq!(text.matches("<meta http-equiv").count(), 1, "the policy");
    let mut browser = Browser::start();
    let url = file_url(&page);
    for has_scripts in [true, false] {
        browser.allow_scripts(has_scripts);
        browser.open(&url);
        assert_eq!(browser.complaints(), Vec::<String>::new());
        assert_eq!(browser.requests(), [url.as_str()]);
        assert_eq!(browser.evaluate("document.title"), "Ledger repair report");
        let strange = "document.querySelectorAll('img, a, link, iframe, b:not([class])').length";
        assert_eq!(browser.evaluate(strange), 0);
        let shown: Vec<String> =
            rows(&mut browser, "balances").into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(shown.len(), HOSTILE.len() + 1);
        for text in &HOSTILE[..9] {
            assert!(shown.iter().any(|cell| cell == text), "{text} not in {shown:?}");
        }
        assert!(shown.iter().any(|cell| cell.contains("npub\\u{202e}1drawkcab")), "{shown:?}");
        assert!(
            shown.iter().any(|cell| cell.ends_with("… cut, 1,600,003 characters")),
            "{shown:?}"
        );
    }
}

#[test]
fn the_page_stays_below_five_megabytes_and_says_what_it_leaves_out() {
    let root = tempfile::tempdir().unwrap();
    // Every character of an identifier becomes six when it is shown.
    let tokens: Vec<u8> =
        (0..100_000).flat_map(|n| hostile_token(n, &format!("{}{n}", "\"".repeat(120)))).collect();
    let page = page_of(root.path(), &tokens, None);
    let bytes = fs::metadata(&page).unwrap().len();
    assert!(bytes < PAGE_BYTES_MAX as u64, "{bytes} bytes");
    assert!(bytes > 3_000_000, "{bytes} bytes: the bound was not reached");
    let mut browser = Browser::start();
    browser.open(&file_url(&page));
    let said =
        browser.evaluate("[...document.querySelectorAll('.extent')].map(p => p.textContent)");
    let text = browser.evaluate("document.body.textContent");
    assert!(text.as_str().unwrap().contains("At most 300 rows of each kind."));
    for (said, file) in said.as_array().unwrap().iter().zip(["balance_deltas.csv", "findings.csv"])
    {
        let said = said.as_str().unwrap();
        assert!(said.starts_with("Not all rows are on this page"), "{said}");
        assert!(said.contains("of 100,000;") || said.contains("00,000;"), "{said}");
        assert!(said.contains(file), "{said}");
    }
}
