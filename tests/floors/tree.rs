//! The tree of modules, as the compiler finds it: from `lib.rs` and `main.rs` by every `mod`. Which
//! file defines a name that a path leads to, re-exports followed.

use super::said::{Said, without_tests};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Re-exports of re-exports end somewhere.
const MOST_HOPS: u8 = 12;

/// The text of each file by its path below `src`.
pub type Sources = BTreeMap<String, String>;

pub struct Tree {
    pub files: Vec<String>,
    pub modules: Vec<Module>,
}

pub struct Module {
    pub file: usize,
    pub said: Said,
    root: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
}

/// Where a path leads.
enum Target {
    Module(usize),
    Item { module: usize, name: String },
}

impl Tree {
    pub fn of(sources: &Sources) -> Self {
        let mut tree = Self {
            files: Vec::new(),
            modules: Vec::new(),
        };
        for root in ["lib.rs", "main.rs"] {
            if sources.contains_key(root) {
                tree.file(sources, root, None, "");
            }
        }
        tree
    }

    /// The file that defines what `path` means in a module, and its name there.
    pub fn item(&self, module: usize, path: &[String]) -> Option<(usize, String)> {
        match self.resolve(module, path, MOST_HOPS)? {
            Target::Item { module, name } => Some((self.modules[module].file, name)),
            Target::Module(_) => None,
        }
    }

    /// Whether `path` leads to an item of the module itself or of one below it.
    pub fn owns(&self, ancestor: usize, path: &[String]) -> bool {
        let Some(Target::Item { module, .. }) = self.resolve(ancestor, path, MOST_HOPS) else {
            return false;
        };
        std::iter::successors(Some(module), |module| self.modules[*module].parent)
            .any(|module| module == ancestor)
    }

    fn resolve(&self, module: usize, path: &[String], hops: u8) -> Option<Target> {
        let hops = hops.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Target::Module(self.modules[module].root),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            "crossfade" if self.modules[module].root != 0 => Target::Module(0),
            name => self.named(module, name, rest.is_empty(), hops)?,
        };
        while let (Target::Module(inside), Some((name, after))) = (&at, rest.split_first()) {
            at = match name.as_str() {
                "super" => Target::Module(self.modules[*inside].parent?),
                name => self.named(*inside, name, after.is_empty(), hops)?,
            };
            rest = after;
        }
        Some(at)
    }

    /// What a name means in a module. Functions and modules have name spaces of their own: the last
    /// name of a path is an item first, all before it are modules.
    fn named(&self, module: usize, name: &str, is_last: bool, hops: u8) -> Option<Target> {
        let said = &self.modules[module].said;
        let child = self.modules[module].children.get(name);
        let child = child.map(|child| Target::Module(*child));
        let item = said.defined.contains(name).then(|| Target::Item {
            module,
            name: name.to_owned(),
        });
        let here = if is_last {
            item.or(child)
        } else {
            child.or(item)
        };
        let imports = |wanted: &'static str| {
            said.imports
                .iter()
                .filter(move |import| (import.name == "*") == (wanted == "*"))
        };
        here.or_else(|| {
            imports("one")
                .filter(|import| import.name == name)
                .find_map(|import| self.resolve(module, &import.path, hops))
        })
        .or_else(|| {
            imports("*").find_map(|import| match self.resolve(module, &import.path, hops)? {
                Target::Module(glob) if glob != module => {
                    self.named(glob, name, is_last, hops.checked_sub(1)?)
                }
                _ => None,
            })
        })
    }

    fn file(
        &mut self,
        sources: &Sources,
        path: &str,
        parent: Option<usize>,
        folder: &str,
    ) -> usize {
        let text = &sources[path];
        let tokens = text.parse().unwrap_or_else(|why| panic!("{path}: {why}"));
        let parsed: syn::File = syn::parse2(without_tests(tokens))
            .unwrap_or_else(|why| panic!("{path}:{}: {why}", why.span().start().line));
        self.files.push(path.to_owned());
        let file = self.files.len() - 1;
        self.module(sources, file, parsed.items, parent, folder)
    }

    fn module(
        &mut self,
        sources: &Sources,
        file: usize,
        items: Vec<syn::Item>,
        parent: Option<usize>,
        folder: &str,
    ) -> usize {
        let module = self.modules.len();
        self.modules.push(Module {
            file,
            said: Said::default(),
            root: parent.map_or(module, |parent| self.modules[parent].root),
            parent,
            children: BTreeMap::new(),
        });
        for item in items {
            let syn::Item::Mod(inner) = item else {
                self.modules[module].said.add(&item);
                continue;
            };
            let name = inner.ident.to_string();
            let below = format!("{folder}{name}/");
            let child = match inner.content {
                Some((_, items)) => self.module(sources, file, items, Some(module), &below),
                None => {
                    let beside = format!("{folder}{name}.rs");
                    let inside = format!("{below}mod.rs");
                    let path = if sources.contains_key(&beside) {
                        beside
                    } else {
                        inside
                    };
                    self.file(sources, &path, Some(module), &below)
                }
            };
            self.modules[module].children.insert(name, child);
        }
        module
    }
}

/// Every file below `src`.
pub fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Sources::new();
    collect(&root, &root, &mut found);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Sources) {
    for entry in fs::read_dir(folder).expect("a readable source tree") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("readable source");
            let inside = path.strip_prefix(root).expect("below src");
            found.insert(inside.to_string_lossy().into_owned(), text);
        }
    }
}
