//! The fuzz targets over the committed corpus and over mutations of it that a number decides.
//!
//! A failure prints target, file and mutation. `TURNBUCKLE_FUZZ_MUTATIONS=n` asks for more of them.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::{env, fs, panic};

use turnbuckle_fuzz::{TARGETS, Target};
use turnbuckle_testkit::Random;

#[test]
fn decode() {
    run("decode");
}

#[test]
fn integrity() {
    run("integrity");
}

#[test]
fn stream() {
    run("stream");
}

#[test]
fn relay() {
    run("relay");
}

#[test]
fn config() {
    run("config");
}

#[test]
fn oracle() {
    run("oracle");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut directories: Vec<String> = fs::read_dir(corpora())
        .expect("fuzz/corpus")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    directories.sort();
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(directories, names);
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|t| t.name == name).expect("a target");
    let corpus = corpus(target);
    assert!(corpus.len() >= CORPUS_MIN, "{} inputs", corpus.len());
    for (file, input) in &corpus {
        checked(target, input, || file.display().to_string());
    }
    let mut random = Random::new(SEED);
    for round in 0..mutations() {
        let (file, input) = &corpus[random.below(corpus.len())];
        let (_, other) = &corpus[random.below(corpus.len())];
        let mut input = input.clone();
        mutate(&mut input, other, &mut random);
        input.truncate(target.input_max);
        checked(target, &input, || {
            format!("mutation {round}, of {}", file.display())
        });
    }
}

fn checked(target: &Target, input: &[u8], what: impl FnOnce() -> String) {
    if let Err(panic) = panic::catch_unwind(|| (target.run)(input)) {
        println!("{}: {}: {input:02x?}", target.name, what());
        panic::resume_unwind(panic);
    }
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(corpora().join(target.name))
        .expect("a corpus")
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let input = fs::read(&path).unwrap();
            (path, input)
        })
        .collect();
    all.sort();
    all
}

/// Up to four of: another byte, a bit, a number at its end, bytes taken out, doubled, or from another input.
fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let len = random.below(9).min(input.len() - at);
        match random.below(6) {
            0 if at < input.len() => input[at] = random.array::<1>()[0],
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 if at < input.len() => input[at] = *random.pick(&[0, 1, 0x7F, 0x80, 0xFF]),
            3 => {
                input.drain(at..at + len);
            }
            4 => {
                let doubled = input[at..at + len].to_vec();
                input.splice(at..at, doubled);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let len = random.below(65).min(other.len() - from);
                input.splice(at..at, other[from..from + len].iter().copied());
            }
        }
    }
}

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn mutations() -> usize {
    match env::var("TURNBUCKLE_FUZZ_MUTATIONS") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => MUTATIONS,
    }
}

const MUTATIONS: usize = 500;
const SEED: u64 = 8656;
/// A corpus that was lost by mistake shows.
const CORPUS_MIN: usize = 8;
