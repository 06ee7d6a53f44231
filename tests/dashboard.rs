//! The dashboard and the API's page in a real browser: what they show, to whom, and what they do when something is
//! wrong. The answers come from a scripted server, which says what no real one can be brought to say at will;
//! `dashboard_live` has the real one.

use crate::support::answers::{self, HOSTILE, LARGE_READ};
use crate::support::browser::{Browser, View};
use crate::support::scripted_api::{Page, ScriptedApi, TOKEN};
use serde_json::{Value, json};

#[path = "../src/api/pages.rs"]
mod pages;

const USERS: [&str; 2] = [
    "npub1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq1",
    "npub1zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz2",
];

pub(crate) const PHONE: View = View { width: 360, height: 760, is_dark: true };
pub(crate) const DESK: View = View { width: 1280, height: 900, is_dark: false };

/// A server that tells of a damaged ledger.
fn server(names: &[&str]) -> ScriptedApi {
    let page =
        |html: &str| Page { html: html.to_owned(), policy: pages::content_security_policy(html) };
    let api = ScriptedApi::start([("/", page(pages::dashboard())), ("/docs", page(pages::docs()))]);
    for (path, data) in answers::damaged(names) {
        api.tells(path, &data);
    }
    api
}

/// Opens a page and enters the token, as a person does.
fn enter(browser: &mut Browser, url: &str) {
    browser.open(url);
    browser.until("document.activeElement.id === 'token'");
    browser.type_text(TOKEN);
    browser.press("Enter");
}

pub(crate) fn is_live(browser: &mut Browser) {
    browser.until("document.getElementById('link-state').dataset.state === 'live'");
}

/// The dashboard of a damaged ledger, with everything drawn.
fn opened(names: &[&str], view: View) -> (ScriptedApi, Browser) {
    let api = server(names);
    let mut browser = Browser::start();
    browser.view(view);
    enter(&mut browser, &api.url("/"));
    is_live(&mut browser);
    browser.until("document.querySelectorAll('.chart svg').length === 2");
    (api, browser)
}

pub(crate) fn text(browser: &mut Browser, selector: &str) -> String {
    let seen = browser.evaluate(&format!("document.querySelector('{selector}')?.innerText ?? ''"));
    seen.as_str().unwrap().to_owned()
}

/// Whether anything is wider than the window.
pub(crate) fn scrolls_sideways(browser: &mut Browser) -> bool {
    browser
        .evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth || \
             (drawer => drawer.open && drawer.scrollWidth > drawer.clientWidth)(document.getElementById('drawer'))",
        )
        .as_bool()
        .unwrap()
}

#[test]
fn the_most_important_sentence_comes_first_and_the_figures_are_the_answers() {
    let (api, mut browser) = opened(&USERS, DESK);
    let sentence =
        format!("150 melted tokens are still unspent; {LARGE_READ} overcounted for 25 users.");
    assert_eq!(text(&mut browser, "h1:not(#entry-title)"), sentence);
    let order =
        "[...document.querySelectorAll('h1, h2')].filter(one => one.checkVisibility())[0].id";
    assert_eq!(browser.evaluate(order), "verdict-title");
    assert_eq!(browser.evaluate("document.title"), "150 to repair · remelt");
    let figures = text(&mut browser, "#figures");
    for figure in
        ["150", "of 500 melted", LARGE_READ, "70 %", "229", "10,000", "1,000", "1,200 wallets"]
    {
        assert!(figures.contains(figure), "{figure} is not in\n{figures}");
    }
    assert!(text(&mut browser, "#verdict").contains("3 of them can't be changed"));
    // Copies of a secret that are all spent are how every melt was stored, and alarm nobody.
    assert!(text(&mut browser, "#verdict").contains("repeated secret (4)"));
    assert!(text(&mut browser, "#verdict .command").contains("remelt export snapshot"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let own = api.url("");
    let requests = browser.requests();
    let foreign: Vec<_> =
        requests.iter().filter(|url| !url.starts_with(&own) && !url.starts_with("data:")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn the_token_stands_in_no_address_and_is_gone_when_it_is_forgotten() {
    let (api, mut browser) = opened(&USERS, DESK);
    assert!(api.asked().iter().all(|target| !target.contains(TOKEN)), "{:?}", api.asked());
    assert!(!browser.evaluate("location.href").as_str().unwrap().contains(TOKEN));
    let kept =
        "JSON.stringify([{...localStorage}, document.cookie, document.documentElement.outerHTML])";
    assert!(!browser.evaluate(kept).as_str().unwrap().contains(TOKEN));
    assert_eq!(browser.evaluate("sessionStorage.getItem('remelt.token')"), TOKEN);
    browser.evaluate("document.getElementById('forget').click()");
    assert_eq!(browser.evaluate("sessionStorage.length"), 0);
    let told = browser.evaluate(
        "document.querySelector('main').textContent + document.querySelector('dialog').textContent",
    );
    for word in ["150", LARGE_READ, "npub1qqqq", "rs0"] {
        assert!(!told.as_str().unwrap().contains(word), "{word} is still there");
    }
    browser.until("document.activeElement.id === 'token'");
}

#[test]
fn a_wrong_token_is_refused_in_words_and_not_kept() {
    let api = server(&USERS);
    let mut browser = Browser::start();
    browser.open(&api.url("/"));
    browser.until("document.activeElement.id === 'token'");
    assert_eq!(browser.evaluate("document.getElementById('token').type"), "password");
    browser.press("Enter");
    assert_eq!(text(&mut browser, "#token-fault"), "Enter the token.");
    browser.type_text("a token with spaces");
    browser.press("Enter");
    assert!(text(&mut browser, "#token-fault").contains("no spaces"));
    browser.evaluate("document.getElementById('token').value = ''");
    browser.type_text("ffffffffffffffffffffffffffffffff");
    browser.press("Enter");
    browser
        .until("document.getElementById('token-fault').textContent.includes('REMELT_API_TOKEN')");
    assert_eq!(
        browser.evaluate("document.getElementById('token').getAttribute('aria-invalid')"),
        "true"
    );
    assert_eq!(browser.evaluate("document.activeElement.id"), "token");
    assert_eq!(browser.evaluate("sessionStorage.length"), 0);
    // A wrong token counts against the limit of wrong tokens: it is tried once.
    assert_eq!(api.asked().iter().filter(|target| target.starts_with("/admin")).count(), 1);
}

#[test]
fn hostile_names_are_shown_as_text_and_do_nothing() {
    let (api, mut browser) = opened(&HOSTILE, DESK);
    let mut seen = text(&mut browser, "body");
    for name in HOSTILE.iter().take(3) {
        api.tells("/admin/users/x", &answers::user(name));
        browser.evaluate("location.hash = '#/findings/inconsistent_status'");
        browser.until("document.querySelectorAll('#drawer tbody tr').length > 0");
        seen.push_str(&text(&mut browser, "#drawer"));
        let address = "location.hash = [...document.querySelectorAll('#drawer a.mono')][0].hash";
        browser.evaluate(address);
        browser
            .until("document.getElementById('drawer-title').textContent !== 'Melted, yet unspent'");
        seen.push_str(&text(&mut browser, "#drawer"));
    }
    assert!(seen.contains("<img src=http://evil.example/x onerror=\"window.hit=1\">"), "{seen}");
    // The mark that turns text round is spelled out.
    assert!(seen.contains("npub1\\u{202e}gnp.exe\\u{200b}"), "{seen}");
    assert!(!seen.contains('\u{202e}'));
    assert_eq!(browser.evaluate("window.hit === undefined"), true);
    let made = "document.querySelectorAll('img, iframe, object, embed, base, form[action], script:not([type=module])').length";
    assert_eq!(browser.evaluate(made), 0);
    let links = "[...document.links].filter(link => !(link.protocol === 'http:' && link.host === location.host)).length";
    assert_eq!(browser.evaluate(links), 0);
    let attributes = "[...document.querySelectorAll('*')].flatMap(one => one.getAttributeNames()).filter(name => name.startsWith('on')).length";
    assert_eq!(browser.evaluate(attributes), 0);
    let own = api.url("");
    assert!(browser.requests().iter().all(|url| url.starts_with(&own) || url.starts_with("data:")));
    // No command that is offered for copying holds anything of a name.
    let commands = browser.evaluate(
        "[...document.querySelectorAll('#verdict pre')].map(one => one.textContent).join('\\n')",
    );
    assert!(
        commands
            .as_str()
            .unwrap()
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " -_\n".contains(c))
    );
}

#[test]
fn even_a_script_in_the_page_could_not_make_markup_or_ask_elsewhere() {
    let (_api, mut browser) = opened(&USERS, DESK);
    let refused = |browser: &mut Browser, what: &str| {
        let how = format!(
            "(async () => {{ try {{ {what}; return 'done' }} catch (reason) {{ return reason.name }} }})()"
        );
        browser.evaluate(&how).as_str().unwrap().to_owned()
    };
    assert_eq!(refused(&mut browser, "document.body.innerHTML = '<b>x</b>'"), "TypeError");
    assert_eq!(refused(&mut browser, "await fetch('http://127.0.0.1:9/')"), "TypeError");
    browser.evaluate("void document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x'}))");
    assert!(
        browser.complaints().iter().any(|said| said.contains("img-src")),
        "{:?}",
        browser.complaints()
    );
}

#[test]
fn before_the_first_pass_the_page_says_so_and_then_fills_itself() {
    let api = server(&USERS);
    for (path, _) in answers::damaged(&USERS) {
        api.refuses(path, 503, "not_ready", "the first pass began at 12:00; ask again");
    }
    let mut browser = Browser::start();
    enter(&mut browser, &api.url("/"));
    browser.until("document.title.startsWith('First pass')");
    assert!(text(&mut browser, "#verdict").contains("The first pass began at 12:00"));
    assert_eq!(browser.evaluate("document.getElementById('content').hidden"), true);
    for (path, data) in answers::damaged(&USERS) {
        api.tells(path, &data);
    }
    browser.until("document.title.startsWith('150')");
    is_live(&mut browser);
}

#[test]
fn an_event_brings_new_figures_and_old_ones_are_marked() {
    let (api, mut browser) = opened(&USERS, DESK);
    api.tells("/admin/migration/status", &answers::status(149, "nctool"));
    api.emit("/admin/events", "pass", &json!({"at": "2026-01-31T12:01:00.000Z"}));
    browser.until("document.getElementById('verdict-title').textContent.startsWith('149')");
    // A screen reader is told.
    assert!(text(&mut browser, "#announcer").starts_with("149"));
    let old = answers::stale(answers::status(149, "nctool"), "The database is gone since 12:00.");
    api.tells("/admin/migration/status", &old);
    api.emit("/admin/events", "pass", &json!({"at": "2026-01-31T12:02:00.000Z"}));
    browser.until("document.getElementById('notices').textContent.includes('The database is gone since 12:00.')");
    let clean = answers::stale(answers::status(0, "nctool"), "The database is gone since 12:00.");
    api.tells("/admin/migration/status", &clean);
    api.emit("/admin/events", "pass", &json!({"at": "2026-01-31T12:03:00.000Z"}));
    browser.until(
        "document.getElementById('verdict-title').textContent.startsWith('No melted token')",
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_no_plan_would_change_is_said_to_need_a_person() {
    let api = server(&USERS);
    api.tells("/admin/migration/status", &answers::status(3, "nctool"));
    api.tells("/admin/migration/preview", &answers::nothing_to_change());
    let mut browser = Browser::start();
    enter(&mut browser, &api.url("/"));
    is_live(&mut browser);
    let title = text(&mut browser, "#verdict-title");
    assert!(
        title.starts_with("3 melted tokens are still unspent, and the rule can't change them;"),
        "{title}"
    );
    assert!(!text(&mut browser, "#verdict").contains("remelt apply"), "there is nothing to apply");
    assert_eq!(
        browser.evaluate("document.querySelector('.next a').hash"),
        "#/findings/inconsistent_status"
    );
}

#[test]
fn what_only_wallets_could_tell_is_said_to_be_unknown_without_them() {
    let api = server(&USERS);
    api.tells("/admin/health/token-integrity", &answers::integrity_without_wallets());
    let mut browser = Browser::start();
    enter(&mut browser, &api.url("/"));
    is_live(&mut browser);
    let unknown = text(&mut browser, "#findings-body .clear");
    for check in ["No wallet: can't be told", "Wallet of someone else: can't be told"] {
        assert!(unknown.contains(check), "{check} is not in\n{unknown}");
    }
    assert!(unknown.contains("Balance below zero\n") || unknown.ends_with("Balance below zero"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_connection_that_goes_away_is_said_and_comes_back() {
    let (api, mut browser) = opened(&USERS, DESK);
    api.goes_away(true);
    browser.until("document.getElementById('link-state').dataset.state === 'lost'");
    browser.until(
        "document.getElementById('notices').textContent.includes('connection to remelt is lost')",
    );
    assert!(text(&mut browser, "#figures").contains("150"), "what was known stays");
    api.goes_away(false);
    api.tells("/admin/migration/status", &answers::status(148, "nctool"));
    browser.evaluate(
        "[...document.querySelectorAll('#notices button')].forEach(button => button.click())",
    );
    is_live(&mut browser);
    browser.until("document.getElementById('verdict-title').textContent.startsWith('148')");
    assert_eq!(text(&mut browser, "#notices"), "");
}

#[test]
fn too_many_questions_are_answered_with_patience() {
    let (api, mut browser) = opened(&USERS, DESK);
    for (path, _) in answers::damaged(&USERS) {
        api.refuses(path, 429, "too_many_requests", "over 600 requests a minute; wait");
    }
    api.emit("/admin/events", "pass", &json!({"at": "2026-01-31T12:01:00.000Z"}));
    browser.until("document.getElementById('notices').textContent.includes('Over 600 requests')");
    for (path, data) in answers::damaged(&USERS) {
        api.tells(path, &data);
    }
    is_live(&mut browser);
    assert_eq!(text(&mut browser, "#notices"), "");
}

#[test]
fn one_answer_that_fails_leaves_the_others() {
    let api = server(&USERS);
    api.refuses("/admin/trend", 500, "internal", "the trend is lost; see the log");
    let mut browser = Browser::start();
    enter(&mut browser, &api.url("/"));
    is_live(&mut browser);
    assert!(text(&mut browser, "#trend").contains("The trend is lost"));
    assert!(text(&mut browser, "#figures").contains("150"));
}

#[test]
fn a_run_is_followed_until_it_ends() {
    let (api, mut browser) = opened(&USERS, DESK);
    let at_work = answers::run(250, true);
    api.tells("/admin/runs/run-1", &json!({"run": at_work}));
    api.tells(
        "/admin/migration/status",
        &answers::with_run(answers::status(150, "nctool"), &at_work),
    );
    api.emit("/admin/events", "runs", &json!({}));
    browser.until("document.querySelector('#progress progress')?.value === 250");
    assert!(text(&mut browser, "#progress").contains("250 of 1,000"));
    while api.listeners("/admin/runs/run-1/events") == 0 {
        std::thread::yield_now();
    }
    api.emit("/admin/runs/run-1/events", "run", &answers::run(750, true));
    browser.until("document.querySelector('#progress progress')?.value === 750");
    let ended = answers::run(1000, false);
    api.tells("/admin/runs/run-1", &json!({"run": ended}));
    api.tells("/admin/migration/status", &answers::with_run(answers::status(0, "nctool"), &ended));
    api.emit("/admin/runs/run-1/events", "run", &ended);
    api.emit("/admin/events", "runs", &json!({}));
    browser.until("!document.querySelector('#progress progress')");
    browser.until("document.getElementById('runs-body').innerText.includes('1,000 applied')");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn everything_is_reached_and_left_by_the_keyboard() {
    let (api, mut browser) = opened(&USERS, DESK);
    assert_eq!(browser.evaluate("document.activeElement.id"), "main");
    browser.open(&api.url("/"));
    is_live(&mut browser);
    browser.press("Tab");
    assert!(text(&mut browser, ":focus").starts_with("Skip to"));
    let mut reached = Vec::new();
    for _ in 0..200 {
        browser.press("Tab");
        let here = "(one => one === document.body ? null : [one.tagName, one.dataset.key ?? one.id, one.matches(':focus-visible')])(document.activeElement)";
        let here = browser.evaluate(here);
        if here.is_null() {
            break;
        }
        assert_eq!(here[2], true, "{here} does not show its focus");
        reached.push(here[1].as_str().unwrap().to_owned());
    }
    for key in
        ["theme", "forget", "finding inconsistent_status", "users-npub", "users-issues", "validate"]
    {
        assert!(reached.iter().any(|one| one == key), "{key} is not among {reached:?}");
    }
    assert!(reached.iter().any(|one| one.starts_with("copy remelt export")), "{reached:?}");

    // A card leads into the drawer, which keeps the focus, and Escape leads back to the card.
    browser
        .evaluate("document.querySelector('[data-key=\"finding inconsistent_status\"]').focus()");
    browser.press("Enter");
    browser.until("document.activeElement.id === 'drawer-title'");
    for _ in 0..12 {
        browser.press("Tab");
        let inside = "document.activeElement === document.body || document.getElementById('drawer').contains(document.activeElement)";
        assert_eq!(browser.evaluate(inside), true);
    }
    browser.press("Escape");
    browser.until("!document.getElementById('drawer').open");
    assert_eq!(
        browser.evaluate("document.activeElement.dataset.key"),
        "finding inconsistent_status"
    );
    assert_eq!(browser.evaluate("location.hash"), "");

    // A chart is read point by point.
    browser.evaluate("document.querySelector('#trend .chart').focus()");
    browser.press("ArrowRight");
    assert!(text(&mut browser, "#trend .readout").starts_with("180 of 500 melted"));
}

#[test]
fn the_structure_is_there_for_a_screen_reader() {
    let (_api, mut browser) = opened(&USERS, DESK);
    for (what, expression) in [
        ("one main", "document.querySelectorAll('main').length === 1"),
        ("a language", "document.documentElement.lang === 'en'"),
        (
            "one heading of the first level",
            "[...document.querySelectorAll('h1')].filter(h => h.checkVisibility()).length === 1",
        ),
        (
            "tables with captions",
            "[...document.querySelectorAll('table')].every(t => t.caption?.textContent)",
        ),
        (
            "headed columns and rows",
            "[...document.querySelectorAll('table')].every(t => t.querySelectorAll('thead th:not([scope=col])').length === 0 && [...t.tBodies[0].rows].every(r => r.cells[0].scope === 'row'))",
        ),
        (
            "fields with labels",
            "[...document.querySelectorAll('input')].every(i => i.labels.length === 1)",
        ),
        (
            "charts in words",
            "[...document.querySelectorAll('.chart')].every(c => c.ariaLabel.length > 20 && c.querySelector('svg').ariaHidden === 'true')",
        ),
        (
            "sections with names",
            "[...document.querySelectorAll('section')].every(s => document.getElementById(s.getAttribute('aria-labelledby'))?.textContent)",
        ),
        (
            "buttons with names",
            "[...document.querySelectorAll('button')].every(b => (b.ariaLabel ?? b.textContent).trim())",
        ),
        (
            "ids that occur once",
            "(ids => new Set(ids).size === ids.length)([...document.querySelectorAll('[id]')].map(one => one.id))",
        ),
    ] {
        assert_eq!(browser.evaluate(expression), true, "{what}");
    }
}

/// For every visible text: its contrast with what is behind it, the smallest first.
const CONTRASTS: &str = r"(() => {
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = (one) => {
        for (let at = one; at; at = at.parentElement) {
            const color = channels(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter(one => one.checkVisibility() && !one.closest('.unseen, [hidden], button:disabled, script, style')
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
    return texts.map(one => {
        const style = getComputedStyle(one);
        const [a, b] = [light(channels(one instanceof SVGElement ? style.fill : style.color)), light(behind(one))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.textContent.trim().slice(0, 40)];
    }).sort((x, y) => x[0] - y[0]).slice(0, 5);
})()";

#[test]
fn text_has_the_contrast_of_wcag_aa_in_both_colour_schemes() {
    for is_dark in [false, true] {
        let (_api, mut browser) = opened(&USERS, View { is_dark, ..DESK });
        let theme = browser.evaluate("document.documentElement.dataset.theme");
        assert_eq!(theme, if is_dark { "dark" } else { "light" });
        for place in ["", "#/findings/inconsistent_status"] {
            browser.evaluate(&format!("location.hash = '{place}'"));
            browser
                .evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
            browser.until(&format!(
                "document.getElementById('drawer').open === {}",
                !place.is_empty()
            ));
            let worst = browser.evaluate(CONTRASTS);
            assert!(worst[0][0].as_f64().unwrap() >= 4.5, "{theme}: {worst:#}");
        }
    }
}

#[test]
fn nothing_is_wider_than_a_phone_of_360_pixels() {
    let mut long = USERS.to_vec();
    let endless = "x".repeat(3000);
    long.push(&endless);
    long.extend(HOSTILE);
    let (api, mut browser) = opened(&long, PHONE);
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
    assert!(!scrolls_sideways(&mut browser));
    browser.evaluate("location.hash = '#/findings/inconsistent_status'");
    browser.until("document.querySelectorAll('#drawer tbody tr').length > 0");
    assert!(!scrolls_sideways(&mut browser));
    api.tells(&format!("/admin/users/{}", USERS[0]), &answers::user(&endless));
    browser.evaluate(&format!("location.hash = '#/users/{}'", USERS[0]));
    browser.until("document.querySelector('#drawer .sums')");
    assert!(!scrolls_sideways(&mut browser));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_colours_can_be_chosen_and_stay_chosen_in_this_tab() {
    let (api, mut browser) = opened(&USERS, DESK);
    browser.evaluate("document.getElementById('theme').click()");
    assert_eq!(browser.evaluate("document.documentElement.dataset.theme"), "dark");
    browser.open(&api.url("/"));
    is_live(&mut browser);
    assert_eq!(browser.evaluate("document.documentElement.dataset.theme"), "dark");
}

#[test]
fn the_apis_page_shows_every_operation() {
    let api = server(&USERS);
    api.tells_bare("/openapi.json", &description());
    let mut browser = Browser::start();
    browser.view(PHONE);
    enter(&mut browser, &api.url("/docs"));
    browser.until("document.querySelectorAll('.operation').length === 2");
    let shown = text(&mut browser, "main");
    for part in [
        "GET",
        "/admin/trend",
        "POST",
        "/admin/check",
        "How many",
        "from 1, to 1000",
        "Authorization: Bearer $REMELT_API_TOKEN",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
    let shown = text(&mut browser, "main");
    // A description that holds itself ends.
    assert_eq!(shown.matches("points").count(), 2, "{shown}");
    assert_eq!(browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn description() -> Value {
    json!({"openapi": "3.1.0", "info": {"title": "remelt", "version": "1"}, "security": [{"token": []}],
        "components": {"schemas": {"Trend": {"type": "object", "properties": {"points": {"type": "array",
            "items": {"$ref": "#/components/schemas/Trend"}}}}}},
        "paths": {
            "/admin/trend": {"get": {"summary": "Figures", "parameters": [{"name": "limit", "in": "query",
                "description": "How many", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}],
                "responses": {"200": {"description": "fine", "content": {"application/json": {"schema":
                    {"$ref": "#/components/schemas/Trend"}}}}}}},
            "/admin/check": {"post": {"summary": "Checks", "responses": {"200": {"description": "fine"}}}}}})
}
