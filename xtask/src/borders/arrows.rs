//! Who may depend on whom, as `cargo metadata` sees it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::process::{cargo, output};

/// Each crate of the house and those of the house it may use, in its tests too.
const ARROWS: &[(&str, &[&str])] = &[
    ("hypertap-wire", &[]),
    ("hypertap-engine", &["hypertap-wire"]),
    ("hypertap-platform", &["hypertap-wire"]),
    ("hypertap-mesh", &["hypertap-wire"]),
    ("hypertap-client", &["hypertap-wire"]),
    ("hypertap-capi", &["hypertap-client", "hypertap-wire"]),
    (
        "hypertap",
        &["hypertap-client", "hypertap-engine", "hypertap-mesh", "hypertap-platform", "hypertap-wire"],
    ),
];

/// Crates of others that may not be used, directly or by way of another crate.
const BANNED_BELOW: &[(&str, &[&str])] = &[
    ("hypertap-wire", &["async-std", "libc", "mio", "nix", "rustix", "smol", "socket2", "tokio"]),
    ("hypertap-engine", &["async-std", "mio", "nix", "smol", "socket2", "tokio"]),
];

/// Crates of others that may not be named in the manifest.
const BANNED_DIRECT: &[(&str, &[&str])] = &[("hypertap-engine", &["libc", "rustix"])];

/// The only crate whose dependencies may differ by system.
const MACHINE: &str = "hypertap-platform";

/// The dependency graph of the workspace whose root is `root`.
///
/// # Errors
/// Cargo cannot read it.
pub(super) fn metadata(root: &Path) -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(root.join("Cargo.toml"));
    serde_json::from_str(&output(&mut command)?).context("cargo metadata is not JSON")
}

/// Every arrow of a workspace that may not be there.
///
/// # Errors
/// The metadata has not the form that cargo documents.
pub(super) fn findings(metadata: &Value, root: &Path) -> Result<Vec<Finding>> {
    let graph = Graph::of(metadata)?;
    let crates = root.join("crates");
    let mut found = Vec::new();
    for package in list(metadata, "packages")? {
        if !package["source"].is_null() {
            continue;
        }
        let manifest = Path::new(text(package, "manifest_path")?);
        if manifest.starts_with(&crates) {
            check_crate(package, &graph, &mut found)?;
        }
    }
    Ok(found)
}

fn check_crate(package: &Value, graph: &Graph<'_>, found: &mut Vec<Finding>) -> Result<()> {
    let name = text(package, "name")?;
    let mut add = |what: String| found.push(Finding { place: name.to_owned(), what });
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        add("is a crate without a row in the table of arrows (xtask/src/borders/arrows.rs)".to_owned());
        return Ok(());
    };
    for dependency in list(package, "dependencies")? {
        let on = text(dependency, "name")?;
        let is_ours = dependency["source"].is_null() && graph.is_ours(on);
        if is_ours && !allowed.contains(&on) {
            add(format!("depends on {on}: no such arrow"));
        }
        if banned(BANNED_DIRECT, name).contains(&on) {
            add(format!("depends on {on}, which is for crates that do I/O"));
        }
        if name != MACHINE && !dependency["target"].is_null() {
            add(format!("depends on {on} by system: only {MACHINE} may"));
        }
    }
    let below = graph.below(text(package, "id")?);
    for crate_name in banned(BANNED_BELOW, name).iter().filter(|name| below.contains(*name)) {
        add(format!(
            "needs {crate_name} (see `cargo tree -p {name} -i {crate_name}`), which is for crates that do I/O"
        ));
    }
    Ok(())
}

fn banned(table: &[(&str, &'static [&'static str])], name: &str) -> &'static [&'static str] {
    table.iter().find(|(from, _)| *from == name).map_or(&[], |(_, banned)| banned)
}

/// What is needed to build what, tests left aside.
struct Graph<'a> {
    names: HashMap<&'a str, &'a str>,
    ours: HashSet<&'a str>,
    needs: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    fn of(metadata: &'a Value) -> Result<Self> {
        let mut graph = Self { names: HashMap::new(), ours: HashSet::new(), needs: HashMap::new() };
        for package in list(metadata, "packages")? {
            graph.names.insert(text(package, "id")?, text(package, "name")?);
            let is_member = list(metadata, "workspace_members")?.contains(&package["id"]);
            if is_member {
                graph.ours.insert(text(package, "name")?);
            }
        }
        for node in list(&metadata["resolve"], "nodes")? {
            let mut needs = Vec::new();
            for on in list(node, "deps")? {
                if list(on, "dep_kinds")?.iter().any(|kind| kind["kind"] != "dev") {
                    needs.push(text(on, "pkg")?);
                }
            }
            graph.needs.insert(text(node, "id")?, needs);
        }
        Ok(graph)
    }

    fn is_ours(&self, name: &str) -> bool {
        self.ours.contains(name)
    }

    /// The names of all crates that `id` needs, near or far.
    fn below(&self, id: &'a str) -> HashSet<&'a str> {
        let mut seen = HashSet::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for on in self.needs.get(id).into_iter().flatten() {
                if seen.insert(*on) {
                    open.push(on);
                }
            }
        }
        seen.into_iter().filter_map(|id| self.names.get(id).copied()).collect()
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("cargo metadata has no list {key}"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("cargo metadata has no text {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::borders::tree::Tree;

    fn told(tree: &Tree) -> Vec<String> {
        let metadata = metadata(tree.root()).expect("cargo reads the made-up workspace");
        let found = findings(&metadata, tree.root()).expect("metadata has its form");
        found.into_iter().map(|finding| format!("{} {}", finding.place, finding.what)).collect()
    }

    #[test]
    fn the_arrows_of_the_design_are_allowed() {
        let tree = Tree::new()
            .package("crates/wire", "hypertap-wire", "")
            .package(
                "crates/engine",
                "hypertap-engine",
                "[dependencies]\nhypertap-wire = { path = \"../wire\" }",
            )
            .package(
                "crates/hypertap",
                "hypertap",
                "[dependencies]\nhypertap-engine = { path = \"../engine\" }",
            )
            .package(
                "tests",
                "hypertap-tests",
                "[dependencies]\nhypertap-engine = { path = \"../crates/engine\" }",
            );
        assert_eq!(told(&tree), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_is_not_in_the_design_is_found() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let arrow = format!("[{section}]\nhypertap-platform = {{ path = \"../platform\" }}");
            let tree = Tree::new().package("crates/platform", "hypertap-platform", "").package(
                "crates/engine",
                "hypertap-engine",
                &arrow,
            );
            assert_eq!(
                told(&tree),
                ["hypertap-engine depends on hypertap-platform: no such arrow"],
                "{section}"
            );
        }
    }

    #[test]
    fn no_crate_of_the_house_depends_on_its_tests_or_tools() {
        let tree = Tree::new().package("tests", "hypertap-tests", "").package(
            "crates/hypertap",
            "hypertap",
            "[dependencies]\nhypertap-tests = { path = \"../../tests\" }",
        );
        assert_eq!(told(&tree), ["hypertap depends on hypertap-tests: no such arrow"]);
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        let tree = Tree::new().package("crates/attic", "hypertap-attic", "");
        assert!(told(&tree)[0].starts_with("hypertap-attic is a crate without a row"));
    }

    #[test]
    fn a_pure_crate_does_not_reach_a_runtime_through_another() {
        let tree = Tree::new()
            .package("other/tokio", "tokio", "")
            .package("other/between", "between", "[dependencies]\ntokio = { path = \"../tokio\" }")
            .package(
                "crates/wire",
                "hypertap-wire",
                "[dependencies]\nbetween = { path = \"../../other/between\" }",
            );
        let told = told(&tree);
        assert!(told.iter().any(|line| line.starts_with("hypertap-wire needs tokio")), "{told:?}");
    }

    #[test]
    fn a_pure_crate_names_no_system_library() {
        let tree = Tree::new().package("other/libc", "libc", "").package(
            "crates/engine",
            "hypertap-engine",
            "[dependencies]\nlibc = { path = \"../../other/libc\" }",
        );
        let told = told(&tree);
        assert!(
            told.iter().any(|line| line.starts_with("hypertap-engine depends on libc, which")),
            "{told:?}"
        );
    }

    #[test]
    fn only_the_machine_depends_on_the_system() {
        let by_system =
            "[target.'cfg(target_os = \"linux\")'.dependencies]\nhypertap-wire = { path = \"../wire\" }";
        let tree = Tree::new()
            .package("crates/wire", "hypertap-wire", "")
            .package("crates/platform", "hypertap-platform", by_system)
            .package("crates/client", "hypertap-client", by_system);
        assert_eq!(
            told(&tree),
            ["hypertap-client depends on hypertap-wire by system: only hypertap-platform may"]
        );
    }
}
