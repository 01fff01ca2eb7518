//! Documents that name tests, held against the tests.

#[cfg(test)]
mod tests {
    use crate::work_tree;
    use std::collections::BTreeSet;

    /// What a document calls a test: `path/file.rs::name`.
    fn named(text: &str) -> BTreeSet<(String, String)> {
        let quoted = text.split('`').skip(1).step_by(2);
        let tests = quoted.filter_map(|words| words.split_once(".rs::"));
        tests.map(|(file, name)| (format!("{file}.rs"), name.to_owned())).collect()
    }

    #[test]
    fn every_test_that_the_checklist_names_exists() {
        let text = std::fs::read_to_string(work_tree().join("docs/checklist.md")).expect("docs/checklist.md");
        let named = named(&text);
        assert!(named.len() > 80, "{} tests are named", named.len());
        let missing: Vec<_> = named
            .iter()
            .filter(|(file, name)| {
                let code = std::fs::read_to_string(work_tree().join(file)).unwrap_or_default();
                !code.contains(&format!("fn {name}("))
            })
            .collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_row_of_the_checklist_is_there_once() {
        let text = std::fs::read_to_string(work_tree().join("docs/checklist.md")).expect("docs/checklist.md");
        for (kind, count) in [("G", 29), ("F", 29), ("T", 18)] {
            for number in 1..=count {
                let row = format!("\n| {kind}{number} | ");
                assert_eq!(text.matches(&row).count(), 1, "{row}");
            }
        }
    }
}
