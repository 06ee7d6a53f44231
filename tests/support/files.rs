//! Directories as the bytes of their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below a directory, by its path from there.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The files below `directory`.
pub(crate) fn files_below(directory: &Path) -> Files {
    let mut files = Files::new();
    let mut left: Vec<PathBuf> = vec![directory.to_path_buf()];
    while let Some(place) = left.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                left.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// The files of a plan directory, with the measured times taken out of `summary.json`, and the sum of that.
pub(crate) fn plan_files(plan: &Path) -> Files {
    let mut files = files_below(plan);
    let summary = files.get_mut("reports/summary.json").unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(summary).unwrap();
    assert!(json.as_object_mut().unwrap().shift_remove("performance").is_some());
    *summary = serde_json::to_string_pretty(&json).unwrap().into_bytes();
    let sums = files.get_mut("SHA256SUMS").unwrap();
    let text = String::from_utf8(std::mem::take(sums)).unwrap();
    let others: Vec<&str> = text.lines().filter(|line| !line.ends_with("/summary.json")).collect();
    assert_eq!(others.len() + 1, text.lines().count());
    *sums = others.join("\n").into_bytes();
    files
}

/// Makes sure that two directories hold the same files, and says which differ.
pub(crate) fn assert_same(first: &Files, second: &Files, what: &str) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(first), names(second), "{what}: other files");
    for (name, bytes) in first {
        let other = &second[name];
        let at = bytes.iter().zip(other).position(|(a, b)| a != b);
        assert!(
            bytes == other,
            "{what}: {name} differs at byte {} ({} and {} bytes)",
            at.unwrap_or(bytes.len().min(other.len())),
            bytes.len(),
            other.len()
        );
    }
}

/// What stands directly in a directory, hidden entries included.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
