//! The directions in which the crates may depend on each other, read from `cargo metadata`.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_edge_between_crates_is_allowed() {
    let workspace = Workspace::read();
    let mut forbidden = Vec::new();
    for (from, edges) in &workspace.edges {
        let known = ALLOWED.iter().find(|(name, _)| name == from);
        let is_top = TOP.contains(&from.as_str());
        assert!(
            known.is_some() || is_top,
            "{from} is new: say in tests/architecture.rs what it may depend on"
        );
        for edge in edges {
            let allowed = match known {
                Some((_, allowed)) => {
                    allowed.contains(&edge.to.as_str())
                        || (edge.is_dev && edge.to == "turnbuckle-testkit")
                }
                None => !TOP.contains(&edge.to.as_str()),
            };
            if !allowed {
                let kind = if edge.is_dev { " (dev)" } else { "" };
                forbidden.push(format!("{from} -> {}{kind}", edge.to));
            }
        }
    }
    assert!(
        forbidden.is_empty(),
        "forbidden edges:\n{}",
        forbidden.join("\n")
    );
}

#[test]
fn every_listed_crate_exists() {
    let workspace = Workspace::read();
    let listed = ALLOWED.iter().map(|(name, _)| *name).chain(TOP);
    for name in listed {
        assert!(
            workspace.edges.contains_key(name),
            "{name} is listed but is not in the workspace"
        );
    }
}

#[test]
fn the_product_uses_no_crate_of_the_independent_side() {
    let workspace = Workspace::read();
    for product in PRODUCT {
        let reached = workspace.reached_from(product);
        for name in INDEPENDENT_SIDE {
            assert!(
                !reached.contains(name),
                "{product} reaches {name}: it is the tests' other side"
            );
        }
    }
}

#[test]
fn the_deterministic_crates_reach_no_runtime_and_no_sockets() {
    let workspace = Workspace::read();
    for name in ["turnbuckle-proto", "turnbuckle-relay"] {
        let reached = workspace.reached_from(name);
        for banned in ["tokio", "mio", "socket2", "async-std", "smol"] {
            assert!(!reached.contains(banned), "{name} reaches {banned}");
        }
    }
}

struct Workspace {
    /// Declared edges between members, whatever features or platforms they are for.
    edges: BTreeMap<String, Vec<Edge>>,
    /// What each package is built with: normal and build dependencies, by name.
    built_with: BTreeMap<String, BTreeSet<String>>,
}

struct Edge {
    to: String,
    is_dev: bool,
}

impl Workspace {
    fn read() -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--filter-platform",
                PLATFORM,
            ])
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");

        let members: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let packages = metadata["packages"].as_array().expect("packages");
        let member_names: BTreeSet<&str> = packages
            .iter()
            .filter(|package| members.contains(text(&package["id"])))
            .map(|package| text(&package["name"]))
            .collect();
        let names: BTreeMap<&str, &str> = packages
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();

        let edges = packages
            .iter()
            .filter(|package| member_names.contains(text(&package["name"])))
            .map(|package| {
                let dependencies = package["dependencies"].as_array().expect("dependencies");
                let edges = dependencies
                    .iter()
                    .filter(|dependency| member_names.contains(text(&dependency["name"])))
                    .map(|dependency| Edge {
                        to: text(&dependency["name"]).to_owned(),
                        is_dev: dependency["kind"] == "dev",
                    })
                    .collect();
                (text(&package["name"]).to_owned(), edges)
            })
            .collect();

        let mut built_with: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
            let entry = built_with
                .entry(names[text(&node["id"])].to_owned())
                .or_default();
            for dependency in node["deps"].as_array().expect("deps") {
                let kinds = dependency["dep_kinds"].as_array().expect("dep_kinds");
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    entry.insert(names[text(&dependency["pkg"])].to_owned());
                }
            }
        }
        Self { edges, built_with }
    }

    /// Every package that `name` is built with, at any depth.
    fn reached_from(&self, name: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(package) = open.pop() {
            let direct = self
                .built_with
                .get(&package)
                .unwrap_or_else(|| panic!("no {package}"));
            open.extend(
                direct
                    .iter()
                    .filter(|name| reached.insert((*name).clone()))
                    .cloned(),
            );
        }
        reached
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("an array").iter().map(text)
}

/// What each crate may depend on inside the workspace; the testkit besides, as a dev-dependency.
const ALLOWED: &[(&str, &[&str])] = &[
    ("turnbuckle-proto", &[]),
    ("turnbuckle-relay", &["turnbuckle-proto"]),
    ("turnbuckle-net", &[]),
    ("turnbuckle-config", &[]),
    (
        "turnbuckle-server",
        &[
            "turnbuckle-config",
            "turnbuckle-net",
            "turnbuckle-proto",
            "turnbuckle-relay",
        ],
    ),
    ("turnctl", &["turnbuckle-config", "turnbuckle-proto"]),
    (
        "turnbuckle-testkit",
        &["turnbuckle-proto", "turnbuckle-relay"],
    ),
];

/// May use any crate; nothing uses them.
const TOP: [&str; 5] = [
    "turnbuckle-bench",
    "turnbuckle-examples",
    "turnbuckle-fuzz",
    "turnbuckle-tests",
    "xtask",
];

/// What an operator installs.
const PRODUCT: [&str; 2] = ["turnbuckle-server", "turnctl"];

const INDEPENDENT_SIDE: [&str; 3] = ["stun", "turn", "webrtc-util"];

/// The product is for Linux; which processor makes no difference to the edges.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
