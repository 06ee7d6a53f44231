//! The dashboard of a real server over a real ledger: every figure is the API's.

use crate::dashboard::{DESK, PHONE, is_live, scrolls_sideways, text};
use crate::support::api::{self, Served};
use crate::support::browser::{Browser, View};
use remelt::api::ApiOptions;
use serde_json::{Value, json};

/// An integer of an answer as a person reads it.
fn read_as(value: &Value) -> String {
    let exact = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (sign, digits) =
        exact.strip_prefix('-').map_or(("", exact.as_str()), |digits| ("−", digits));
    let grouped: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|three| std::str::from_utf8(three).unwrap())
        .collect();
    format!("{sign}{}", grouped.join(","))
}

/// The share of melted tokens that are not unspent, cut after one digit.
fn percent_in_order(migration: &Value) -> String {
    let count = |name: &str| migration[name].as_u64().unwrap();
    let melted = count("totalMeltedTokens");
    let tenths = (melted - count("problematicTokens")) * 1000 / melted;
    match tenths % 10 {
        0 => format!("{} %", tenths / 10),
        tenth => format!("{}.{tenth} %", tenths / 10),
    }
}

/// The cells of a table's rows.
fn rows(browser: &mut Browser, selector: &str) -> Vec<Vec<String>> {
    let cells = format!(
        "[...document.querySelectorAll('{selector} tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    );
    serde_json::from_value(browser.evaluate(&cells)).unwrap()
}

/// The dashboard of a real server.
fn served(api: &Served, view: View) -> Browser {
    let mut browser = Browser::start();
    browser.view(view);
    browser.open(&format!("http://{}/", api.address));
    browser.until("document.activeElement.id === 'token'");
    browser.type_text(api::TOKEN);
    browser.press("Enter");
    is_live(&mut browser);
    browser
}

#[test]
fn on_a_real_ledger_every_figure_is_the_apis() {
    let (checked, _) = api::damaged();
    let server = checked.serve(ApiOptions { behind_proxy: false, ..api::api_options() });
    let mut browser = served(&server, DESK);
    let status = server.data("/admin/migration/status");
    let preview = server.data("/admin/migration/preview");
    let integrity = server.data("/admin/health/token-integrity");
    let (migration, health) = (&status["migration"], &status["health"]);
    let harm = &integrity["issues"]["inconsistent_status"];
    let sentence = format!(
        "{} melted tokens are still unspent; {} overcounted for {} users.",
        read_as(&migration["problematicTokens"]),
        read_as(&harm["amount"]),
        read_as(&harm["affectedUsers"])
    );
    assert_eq!(text(&mut browser, "#verdict-title"), sentence);
    let values = "[...document.querySelectorAll('#figures .value')].map(one => one.textContent)";
    let expected = [
        read_as(&migration["problematicTokens"]),
        read_as(&harm["amount"]),
        percent_in_order(migration),
        read_as(&integrity["summary"]["totalIssues"]),
        read_as(&health["totalTokens"]),
        read_as(&health["totalUsers"]),
    ];
    assert_eq!(browser.evaluate(values), json!(expected));

    // Every finding that there is has a card with its count, and leads to as many rows.
    let issues = integrity["issues"].as_object().unwrap();
    let found: Vec<_> =
        issues.iter().filter(|(_, issue)| issue["count"].as_u64() > Some(0)).collect();
    assert_eq!(browser.evaluate("document.querySelectorAll('.cards li').length"), found.len());
    for (code, issue) in found {
        let card =
            format!("document.querySelector('[data-key=\"finding {code}\"] .total').textContent");
        assert_eq!(browser.evaluate(&card), read_as(&issue["count"]), "{code}");
        let answer = server.data(&format!("/admin/findings?code={code}&limit=50"));
        browser.evaluate(&format!("location.hash = '#/findings/{code}'"));
        browser.until(&format!(
            "document.querySelector('#drawer-lead code')?.textContent === '{code}' && document.querySelector('#drawer .pager')"
        ));
        let shown = answer["findings"].as_array().unwrap();
        assert_eq!(rows(&mut browser, "#drawer-body").len(), shown.len(), "{code}");
        let total = format!("of {} findings", read_as(&answer["total"]));
        assert!(text(&mut browser, "#drawer .pager").contains(&total), "{code}");
    }
    browser.press("Escape");

    // Balances: the same users in the same order with the same figures, page after page.
    for offset in [0, 20] {
        let answer = server.data(&format!(
            "/admin/health/balance-consistency?onlyIssues=true&limit=20&offset={offset}"
        ));
        let expected: Vec<[String; 3]> = answer["issues"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| {
                let gains = if user["delta"].as_i64().is_some_and(|it| it > 0) { "+" } else { "" };
                let delta = format!("{gains}{}", read_as(&user["delta"]));
                [read_as(&user["unspentBefore"]), read_as(&user["unspentAfter"]), delta]
            })
            .collect();
        let first = format!(
            "document.querySelector('#users-body .pager').innerText.startsWith('{} ')",
            offset + 1
        );
        browser.until(&first);
        let shown: Vec<[String; 3]> = rows(&mut browser, "#users-body")
            .into_iter()
            .map(|row| [row[2].clone(), row[3].clone(), row[4].clone()])
            .collect();
        assert_eq!(shown, expected);
        browser.evaluate("document.querySelector('#users-body .pager button:last-child').click()");
    }
    let days: Vec<Vec<String>> = preview["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| {
            vec![
                day["day"].as_str().unwrap().to_owned(),
                read_as(&day["tokenCount"]),
                read_as(&day["totalAmount"]),
            ]
        })
        .collect();
    assert_eq!(rows(&mut browser, "#days-body"), days);

    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = format!("http://{}/", server.address);
    assert!(browser.requests().iter().all(|url| url.starts_with(&own) || url.starts_with("data:")));
}

#[test]
fn on_a_real_ledger_nothing_is_wider_than_a_phone() {
    let (checked, _) = api::damaged();
    let server = checked.serve(ApiOptions { behind_proxy: false, ..api::api_options() });
    let mut browser = served(&server, PHONE);
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
    assert!(!scrolls_sideways(&mut browser));
    browser.evaluate("location.hash = document.querySelector('#top-body a').hash");
    browser.until("document.querySelector('#drawer .sums')");
    assert!(!scrolls_sideways(&mut browser));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_real_descriptions_page_is_whole() {
    let (checked, _) = api::damaged();
    let server = checked.serve(ApiOptions { behind_proxy: false, ..api::api_options() });
    let mut browser = served(&server, DESK);
    browser.open(&format!("http://{}/docs", server.address));
    let description = server.get("/openapi.json").json();
    let operations = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| ["get", "post"].iter().filter(|method| path.get(**method).is_some()).count())
        .sum::<usize>();
    browser.until(&format!("document.querySelectorAll('.operation').length === {operations}"));
    assert!(operations >= 14, "{operations}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
