//! Every file that fuzzing starts from, and every one it ever found, runs through its parser's check.

mod checks;

use std::fs;
use std::path::Path;

#[test]
fn every_corpus_file_passes_its_check() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (parser, check) in checks::ALL {
        let directory = corpus.join(parser);
        let mut files = 0;
        for entry in fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            check(&fs::read(&path).unwrap());
            files += 1;
        }
        assert!(files >= 3, "{} has no seeds", directory.display());
    }
}

#[test]
fn every_corpus_belongs_to_a_check_and_to_a_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let names = |directory: &str| {
        let entries = fs::read_dir(fuzz.join(directory)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let parsers = checks::ALL.map(|(parser, _)| parser);
    assert_eq!(names("corpus"), parsers);
    assert_eq!(names("fuzz_targets"), parsers);
}
