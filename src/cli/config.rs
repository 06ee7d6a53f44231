//! Defaults from a file: which file, what may stand in it, and what is wrong with it.
//!
//! A flag goes before the environment, the environment before the file, the file before the built-in
//! default. No file is looked for in the working directory: whoever can put one there could choose the
//! database that is worked on.

use super::failure::{Exit, Refusal};
use clap::{Arg, ArgAction, Command, Id};
use remelt::publish::io_reason;
use std::any::TypeId;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

type Key<'a> = Spanned<DeString<'a>>;
type Entry<'a> = Spanned<DeValue<'a>>;

/// Names the file; set and empty, it says that none is to be read.
const VARIABLE: &str = "REMELT_CONFIG";
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Options that name one thing, or give consent: they are meant each time anew.
const NEVER: [&str; 9] =
    ["confirm", "yes", "target", "config", "snapshot", "out", "keep", "repair-time", "json"];
/// Its options are its own: its `--tokens` is a number.
const OWN_OPTIONS: [&str; 1] = ["generate"];

/// `command` with the file's defaults in place of the built-in ones.
///
/// # Errors
/// [`Refusal`] when the file can't be read or trusted, or something in it is not known or of no use.
pub(crate) fn with_defaults(command: Command, arguments: &[OsString]) -> Result<Command, Refusal> {
    let Some((path, is_named)) = find(arguments) else { return Ok(command) };
    let Some(file) = ConfigFile::read(&path, is_named)? else { return Ok(command) };
    let table = DeTable::parse(&file.text).map_err(|error| {
        let advice = "text stands in double quotes; docs/configuration.md has an example";
        file.refuse(error.span().unwrap_or(0..0), "this is not TOML", advice)
    })?;
    let (tables, shared): (Vec<_>, Vec<_>) =
        table.get_ref().iter().partition(|(_, value)| value.get_ref().is_table());
    let mut settings = Vec::new();
    for (name, value) in shared {
        settings.extend(file.shared(&command, name, value)?);
    }
    // A command's own table goes before what all share.
    for (name, value) in tables {
        settings.extend(file.own(&command, name, value)?);
    }
    if names_database(arguments) {
        settings.retain(|setting| setting.option != "db");
    }
    Ok(settings.into_iter().fold(command, Setting::put_into))
}

/// Whether a connection string that goes before the file names the database, on a command line that works on one.
fn names_database(arguments: &[OsString]) -> bool {
    let is_there = |word: &str| arguments.iter().any(|argument| argument == word);
    let works_on_copy = flag(arguments, "--snapshot").is_some()
        || ["rehearse", "explain", "audit", "diff"].into_iter().any(is_there)
        || (is_there("analyze") && !is_there("mongodb") && !is_there("--engine=mongodb"));
    let uri = flag(arguments, "--uri").or_else(|| std::env::var_os("MONGODB_URI"));
    let uri = uri.and_then(|uri| uri.into_string().ok());
    !works_on_copy && uri.is_some_and(|uri| database_of(&uri).is_some())
}

/// The database that a connection string names.
fn database_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let (before, _) = rest.split_once('?').unwrap_or((rest, ""));
    let (_, database) = before.split_once('/')?;
    (!database.is_empty()).then_some(database)
}

/// A default for one option of one command.
struct Setting {
    command: String,
    option: Id,
    values: Vec<String>,
}

impl Setting {
    fn new(command: &Command, option: &Arg, values: Vec<String>) -> Setting {
        Setting { command: command.get_name().to_owned(), option: option.get_id().clone(), values }
    }

    fn put_into(root: Command, Setting { command, option, values }: Setting) -> Command {
        // It may hold a password, so no help shows it.
        let set = |arg: Arg| arg.required(false).hide_default_value(true).default_values(values);
        match root.get_name() == command {
            true => root.mut_arg(option, set),
            false => root.mut_subcommand(command, |command| command.mut_arg(option, set)),
        }
    }
}

fn shares(command: &Command) -> bool {
    !OWN_OPTIONS.contains(&command.get_name())
}

/// Which file is to be read, and whether somebody named it.
fn find(arguments: &[OsString]) -> Option<(PathBuf, bool)> {
    if let Some(named) = flag(arguments, "--config") {
        return Some((named.into(), true));
    }
    match std::env::var_os(VARIABLE) {
        Some(named) if named.is_empty() => return None,
        Some(named) => return Some((named.into(), true)),
        None => {}
    }
    let absolute = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|directory| directory.is_absolute())
    };
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some((base.join("remelt/config.toml"), false))
}

/// The value of the option `name`, which is needed before the arguments can be understood.
fn flag(arguments: &[OsString], name: &str) -> Option<OsString> {
    let mut rest = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = rest.next() {
        if argument == name {
            return rest.next().cloned();
        }
        let value = argument.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('='));
        if let Some(value) = value {
            return Some(value.into());
        }
    }
    None
}

fn option_of<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|option| option.get_long() == Some(name))
}

/// What kind of value an option takes from the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    Size,
    /// None: it can't stand there.
    Never,
}

impl Kind {
    fn of(option: &Arg, name: &str) -> Kind {
        let takes_value = matches!(option.get_action(), ArgAction::Set | ArgAction::Append);
        if NEVER.contains(&name) || !takes_value {
            return Kind::Never;
        }
        let parsed = option.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ];
        let is_size = option
            .get_value_names()
            .is_some_and(|names| names.iter().any(|it| it.as_str() == "SIZE"));
        match numbers.iter().any(|number| parsed == *number) {
            _ if option.get_value_delimiter().is_some() => Kind::Texts,
            true if is_size => Kind::Size,
            true => Kind::Number,
            false => Kind::Text,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Kind::Text => "expected text in double quotes",
            Kind::Texts => "expected a list such as [\"any\"], or text in double quotes",
            Kind::Number => "expected a whole number without quotes",
            Kind::Size => "expected a size such as \"512MiB\", or a number of bytes",
            Kind::Never => "give it on the command line, each time it is meant",
        }
    }

    fn read(self, value: &DeValue<'_>) -> Option<Vec<String>> {
        match (self, value) {
            (Kind::Text | Kind::Texts | Kind::Size, DeValue::String(text)) => {
                Some(vec![text.to_string()])
            }
            (Kind::Number | Kind::Size, DeValue::Integer(number)) if number.radix() == 10 => {
                Some(vec![number.as_str().to_owned()])
            }
            (Kind::Texts, DeValue::Array(texts)) => {
                texts.iter().map(|text| text.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        }
    }
}

/// The file, read.
struct ConfigFile<'a> {
    path: &'a Path,
    text: String,
    mode: u32,
}

impl<'a> ConfigFile<'a> {
    /// `None` when nobody named the file and it is not there.
    fn read(path: &'a Path, is_named: bool) -> Result<Option<ConfigFile<'a>>, Refusal> {
        let unreadable = |error: &io::Error| {
            refusal(format!(
                "could not read the configuration file {}: {}; name another with --config, or none with \
                 {VARIABLE}= (empty)",
                path.display(),
                io_reason(error)
            ))
        };
        let found = fs::metadata(path);
        let found = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return Ok(None),
            found => found.map_err(|error| unreadable(&error))?,
        };
        if !found.is_file() || found.len() > FILE_BYTES_MAX {
            return Err(refusal(format!(
                "{} is no configuration file: expected a regular file of at most {} KiB; name another \
                 with --config",
                path.display(),
                FILE_BYTES_MAX / 1024
            )));
        }
        let mode = found.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(refusal(format!(
                "others may write the configuration file {} (mode {mode:04o}), and so choose the \
                 database you work on; chmod go-w {}",
                path.display(),
                path.display()
            )));
        }
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|error| unreadable(&error))?;
        tracing::debug!(path = %path.display(), "configuration file read");
        Ok(Some(ConfigFile { path, text, mode }))
    }

    /// What a key at the top says for all commands.
    fn shared(
        &self,
        root: &Command,
        name: &Key<'_>,
        value: &Entry<'_>,
    ) -> Result<Vec<Setting>, Refusal> {
        let commands = root.get_subcommands().filter(|command| shares(command));
        let commands: Vec<&Command> = std::iter::once(root).chain(commands).collect();
        let mut settings = Vec::new();
        for command in &commands {
            if let Some(option) = option_of(command, name.get_ref()) {
                let values = self.check(option, name.get_ref(), value)?;
                settings.push(Setting::new(command, option, values));
            }
        }
        if settings.is_empty() { Err(self.no_option(name, &commands)) } else { Ok(settings) }
    }

    /// What the table of one command says for it.
    fn own(
        &self,
        root: &Command,
        name: &Key<'_>,
        table: &Entry<'_>,
    ) -> Result<Vec<Setting>, Refusal> {
        let Some(command) = root.find_subcommand(name.get_ref().as_ref()) else {
            let known = root.get_subcommands().map(Command::get_name);
            let what = format!("[{}] is no command", shown(name.get_ref()));
            return Err(self.unknown(name.span(), &what, name.get_ref(), known));
        };
        let options = table.get_ref().as_table().into_iter().flatten();
        options
            .map(|(name, value)| {
                let option = option_of(command, name.get_ref());
                let option = option.ok_or_else(|| self.no_option(name, &[command]))?;
                Ok(Setting::new(command, option, self.check(option, name.get_ref(), value)?))
            })
            .collect()
    }

    /// What `value` gives `option`.
    fn check(&self, option: &Arg, name: &str, value: &Entry<'_>) -> Result<Vec<String>, Refusal> {
        let (span, value) = (value.span(), value.get_ref());
        let kind = Kind::of(option, name);
        if kind == Kind::Never {
            let what = format!("{name} can't be a default");
            return Err(self.refuse(span, &what, kind.expected()));
        }
        let Some(values) = kind.read(value) else {
            let what = format!("{name} can't be a {}", value.type_str());
            return Err(self.refuse(span, &what, kind.expected()));
        };
        let holds_password = |value: &String| value.contains("://") && value.contains('@');
        if self.mode & 0o044 != 0 && values.iter().any(holds_password) {
            let what = format!("{name} holds credentials and others may read the file");
            let advice = format!("chmod 600 {}", self.path.display());
            return Err(self.refuse(span, &what, &advice));
        }
        for value in &values {
            // The option alone decides, without what it wants of others.
            let alone = Command::new("remelt").no_binary_name(true).arg(
                Arg::new("value")
                    .long("value")
                    .value_parser(option.get_value_parser().clone())
                    .action(ArgAction::Set)
                    .allow_hyphen_values(true),
            );
            if let Err(error) = alone.try_get_matches_from(["--value", value]) {
                let possible = option.get_possible_values();
                let names: Vec<&str> = possible.iter().map(|it| it.get_name()).collect();
                let advice = match (names.is_empty(), error.source()) {
                    (false, _) => format!("expected one of {}", names.join(", ")),
                    (true, Some(reason)) => reason.to_string(),
                    (true, None) => kind.expected().to_owned(),
                };
                return Err(self.refuse(span, &format!("{name} can't be this"), &advice));
            }
        }
        Ok(values)
    }

    fn no_option(&self, name: &Key<'_>, of: &[&Command]) -> Refusal {
        let known = of.iter().flat_map(|command| command.get_arguments());
        let known = known.filter_map(Arg::get_long).filter(|known| !NEVER.contains(known));
        let what = format!("{} is no option", shown(name.get_ref()));
        self.unknown(name.span(), &what, name.get_ref(), known)
    }

    fn unknown<'b>(
        &self,
        span: Range<usize>,
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'b str>,
    ) -> Refusal {
        let advice = match nearest(name, known) {
            Some(known) => format!("did you mean {known}?"),
            None => "remelt help COMMAND lists a command's options".to_owned(),
        };
        self.refuse(span, what, &advice)
    }

    fn refuse(&self, span: Range<usize>, what: &str, advice: &str) -> Refusal {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        refusal(format!("{}:{line}: {what}; {advice}", self.path.display()))
    }
}

/// A name as a message shows it, if it could be that of an option: anything else may be a secret in the
/// wrong place.
fn shown(name: &str) -> &str {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_');
    if name.len() <= 24 && name.bytes().all(is_word) { name } else { "this" }
}

fn refusal(message: String) -> Refusal {
    Refusal { exit: Exit::Usage, code: "config", message }
}

/// Of the `known` words the one that is most like `name`, if it is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &'a str| (strsim::jaro_winkler(name, known), known);
    let best = known.map(likeness).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
    best.filter(|(likeness, _)| *likeness > 0.8).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_flag_is_found_wherever_it_stands() {
        let path = |line: &str| flag(&arguments(line), "--config");
        assert_eq!(path("remelt --config a status"), Some("a".into()));
        assert_eq!(path("remelt status --config=b"), Some("b".into()));
        assert_eq!(path("remelt status -- --config c"), None);
        assert_eq!(path("remelt status"), None);
    }

    #[test]
    fn a_connection_string_that_names_a_database_goes_before_the_file() {
        assert_eq!(database_of("mongodb://h:1,i:2/api?replicaSet=r"), Some("api"));
        assert_eq!(database_of("mongodb+srv://u:p%2F@h/api"), Some("api"));
        for uri in ["mongodb://h", "mongodb://h/", "mongodb://h/?a=b/c", "mongodb://h?a=/c", "h/x"]
        {
            assert_eq!(database_of(uri), None, "{uri}");
        }
        let names = |line: &str| names_database(&arguments(line));
        assert!(names("remelt status --uri mongodb://h/api"));
        assert!(names("remelt analyze --engine mongodb --uri=mongodb://h/api"));
        assert!(!names("remelt status --uri mongodb://h"));
        assert!(!names("remelt analyze dump plan --uri mongodb://h/api"));
        assert!(!names("remelt verify plan --snapshot copy --uri mongodb://h/api"));
    }

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["workers", "memory", "max-rate"];
        assert_eq!(nearest("worker", known.into_iter()), Some("workers"));
        assert_eq!(nearest("max_rate", known.into_iter()), Some("max-rate"));
        assert_eq!(nearest("zebra", known.into_iter()), None);
    }
}
