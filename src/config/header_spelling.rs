use hyper::header::HeaderName;
use serde_json::Value as Json;

use super::parser::diagnostics::Diagnostics;

/// How the file spells the names of fields that go upstream. A name in several spellings has the one of `identity`, else
/// of `csrf`, else of an authority's `headers`, else of `calls`, else of `vary`.
pub(super) fn names(desk: &Diagnostics<'_>) -> Vec<(HeaderName, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    desk.each_value(|value| {
        let Some(rank) = rank(&value.key).filter(|_| value.source != "default") else {
            return;
        };
        match &value.value {
            Json::String(name) => found.push((rank, name.clone())),
            Json::Array(names) => {
                let names = names.iter().filter_map(Json::as_str);
                found.extend(names.map(|name| (rank, name.to_owned())));
            }
            _ => {}
        }
    });
    found.sort_by_key(|(rank, _)| *rank);
    let mut names: Vec<(HeaderName, String)> = Vec::new();
    for (_, spelled) in found {
        // What is no name is reported where it is read.
        if let Ok(name) = HeaderName::from_bytes(spelled.as_bytes())
            && !names.iter().any(|(known, _)| *known == name)
        {
            names.push((name, spelled));
        }
    }
    names
}

/// Which of several spellings counts; `None` where a key names no field that goes upstream.
fn rank(key: &str) -> Option<usize> {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.as_slice() {
        ["auth", _, "identity", "user" | "tenant" | "roles"] => Some(0),
        ["auth", _, "csrf", "header"] => Some(1),
        ["auth", _, "headers"] => Some(2),
        ["route", _, "calls", "headers"] => Some(3),
        ["route", _, "vary"] => Some(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::judge;

    #[test]
    fn a_name_is_spelled_as_the_file_has_it() {
        let loaded = judge(
            "[upstream.app]\nservers = [\"http://a\"]\n\
             [auth.a]\nkind = \"forward\"\nupstream = \"app\"\npath = \"/me\"\nuser = \"id\"\n\
             csrf = {header = \"X-CSRFToken\", cookie = \"c\"}\nidentity = {user = \"X-USER\"}\n\
             [[route]]\npath = \"/a\"\nupstream = \"app\"\nsource = \"sse\"\nvary = [\"x-tenant\"]\n\
             calls = {methods = [\"POST\"], headers = [\"x-csrftoken\"]}\n",
        );
        let spelled = loaded.unwrap().config.spelled;
        let spelled: Vec<&str> = spelled.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(spelled, ["X-USER", "X-CSRFToken", "x-tenant"]);
    }
}
