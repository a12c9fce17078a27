//! What one module says: which names it defines and imports, which paths its code mentions, which
//! structs and `impl` blocks it has. Code for tests only is left out.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

#[derive(Default)]
pub struct Said {
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
    pub structs: Vec<Struct>,
    pub impls: Vec<Mention>,
    pub types: Vec<Type>,
}

/// One name of a `use`; a glob has the name `*`.
pub struct Import {
    pub name: String,
    pub path: Vec<String>,
    pub public: bool,
    pub line: usize,
}

/// A path as it was written.
pub struct Mention {
    pub path: Vec<String>,
    pub line: usize,
}

pub struct Struct {
    pub name: String,
    pub fields: usize,
    pub line: usize,
}

/// A type that other modules may name.
pub struct Type {
    pub name: String,
    pub line: usize,
}

impl Said {
    /// Takes in one item that is no module.
    pub fn add(&mut self, item: &syn::Item) {
        self.defined.extend(defined(item));
        self.types.extend(named_type(item));
        self.visit_item(item);
    }

    fn mention(&mut self, path: Vec<String>, span: Span) {
        self.mentions.push(Mention {
            path,
            line: span.start().line,
        });
    }

    /// Paths in the arguments of a macro, which are no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let span = first.span();
                    let mut path = vec![first.to_string()];
                    while let Some(TokenTree::Punct(colon)) = tokens.peek()
                        && colon.as_char() == ':'
                        && colon.spacing() == proc_macro2::Spacing::Joint
                    {
                        tokens.next();
                        tokens.next();
                        let Some(TokenTree::Ident(next)) = tokens.peek() else {
                            break;
                        };
                        path.push(next.to_string());
                        tokens.next();
                    }
                    self.mention(path, span);
                }
                _ => {}
            }
        }
    }
}

impl<'a> Visit<'a> for Said {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        flatten(&item.tree, &mut Vec::new(), public, &mut self.imports);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let span = path.segments[0].ident.span();
        self.mention(names(path), span);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.structs.push(Struct {
            name: item.ident.to_string(),
            fields: item.fields.len(),
            line: item.ident.span().start().line,
        });
        visit::visit_item_struct(self, item);
    }

    fn visit_item_impl(&mut self, item: &'a syn::ItemImpl) {
        if let syn::Type::Path(subject) = &*item.self_ty {
            self.impls.push(Mention {
                path: names(&subject.path),
                line: item.impl_token.span.start().line,
            });
        }
        visit::visit_item_impl(self, item);
    }

    /// `pub(in a::b)` names no import.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}
}

fn names(path: &syn::Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|segment| segment.ident.to_string())
        .collect()
}

fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, public: bool, into: &mut Vec<Import>) {
    let mut import = |name: &syn::Ident, last: Option<&syn::Ident>, before: &[String]| {
        let mut path = before.to_vec();
        path.extend(last.filter(|last| *last != "self").map(ToString::to_string));
        let name = if name == "self" {
            before.last().cloned().unwrap_or_default()
        } else {
            name.to_string()
        };
        into.push(Import {
            name,
            path,
            public,
            line: last.map_or(0, |last| last.span().start().line),
        });
    };
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, public, into);
            before.pop();
        }
        syn::UseTree::Name(last) => import(&last.ident, Some(&last.ident), before),
        syn::UseTree::Rename(last) => import(&last.rename, Some(&last.ident), before),
        syn::UseTree::Glob(star) => into.push(Import {
            name: "*".to_owned(),
            path: before.clone(),
            public,
            line: star.star_token.spans[0].start().line,
        }),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, public, into);
            }
        }
    }
}

fn defined(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn named_type(item: &syn::Item) -> Option<Type> {
    let (visibility, name) = match item {
        syn::Item::Enum(item) => (&item.vis, &item.ident),
        syn::Item::Struct(item) => (&item.vis, &item.ident),
        syn::Item::Trait(item) => (&item.vis, &item.ident),
        syn::Item::Type(item) => (&item.vis, &item.ident),
        syn::Item::Union(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    let is_private = matches!(visibility, syn::Visibility::Inherited);
    (!is_private).then(|| Type {
        name: name.to_string(),
        line: name.span().start().line,
    })
}

/// The same tokens without what stands behind `#[cfg(test)]`.
pub fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(hash) if hash.as_char() == '#' => match tokens.peek() {
                Some(TokenTree::Group(attribute)) if is_for_tests(attribute) => {
                    tokens.next();
                    skip_item(&mut tokens);
                    drop_attributes(&mut kept);
                }
                _ => kept.push(TokenTree::Punct(hash)),
            },
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_tests(group.stream()));
                inner.set_span(group.span());
                kept.push(TokenTree::Group(inner));
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

/// What was said above `#[cfg(test)]`, documentation among it.
fn drop_attributes(kept: &mut Vec<TokenTree>) {
    while let [.., TokenTree::Punct(hash), TokenTree::Group(attribute)] = &kept[..]
        && hash.as_char() == '#'
        && attribute.delimiter() == Delimiter::Bracket
    {
        kept.truncate(kept.len() - 2);
    }
}

fn is_for_tests(attribute: &Group) -> bool {
    let words: Vec<String> = words(attribute.stream());
    words.first().is_some_and(|word| word == "cfg")
        && words.iter().any(|word| word == "test")
        && !words.iter().any(|word| word == "not")
}

fn words(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Group(group) => words(group.stream()),
            TokenTree::Ident(word) => vec![word.to_string()],
            _ => Vec::new(),
        })
        .collect()
}

/// An item, a statement or a field: up to `;`, a body in braces, or a comma outside of `<>`.
fn skip_item(tokens: &mut std::iter::Peekable<proc_macro2::token_stream::IntoIter>) {
    let mut up_to_semicolon = false;
    let mut open = 0;
    let mut before = ' ';
    for token in tokens.by_ref() {
        match token {
            TokenTree::Ident(word) => {
                up_to_semicolon |= word == "use" || word == "static" || word == "let";
            }
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Brace && !up_to_semicolon =>
            {
                return;
            }
            TokenTree::Punct(punct) => {
                match punct.as_char() {
                    ';' => return,
                    '<' => open += 1,
                    '>' if before != '-' && before != '=' => open -= 1,
                    ',' if open == 0 && !up_to_semicolon => return,
                    _ => {}
                }
                before = punct.as_char();
                continue;
            }
            _ => {}
        }
        before = ' ';
    }
}
