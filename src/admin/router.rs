//! Which paths there are, and what each knows.

use hyper::Method;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/livez`.
    Live,
    /// `/readyz`.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/v1/openapi.json`.
    OpenApi,
    /// `/v1/health`.
    Health,
    /// `/v1/explain`.
    Explain,
    /// `/v1/rollouts`.
    Rollouts,
    /// `/v1/rollouts/NAME`.
    Rollout(String),
    /// `/v1/rollouts/NAME/kill`.
    Kill(String),
    /// `/v1/rollouts/NAME/resume`.
    Resume(String),
    /// `/v1/rollouts/NAME/history`.
    RolloutHistory(String),
    /// `/v1/sessions`.
    Sessions,
    /// `/v1/sessions/close`.
    CloseSessions,
    /// `/v1/sessions/notify`.
    NotifySessions,
    /// `/v1/revoke`.
    Revoke,
    /// `/v1/topics`.
    Topics,
    /// `/v1/drain`.
    Drain,
    /// `/v1/upgrade`.
    Upgrade,
    /// `/v1/config`.
    Config,
    /// `/v1/config/reload`.
    Reload,
    /// `/v1/config/undo`.
    Undo,
    /// `/v1/config/history`.
    ConfigHistory,
}

impl Resource {
    /// What this path names, if anything.
    pub fn find(path: &str) -> Option<Self> {
        use Resource::*;
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match parts.as_slice() {
            ["livez"] => Live,
            ["readyz"] => Ready,
            ["metrics"] => Metrics,
            ["v1", "openapi.json"] => OpenApi,
            ["v1", "health"] => Health,
            ["v1", "explain"] => Explain,
            ["v1", "rollouts"] => Rollouts,
            ["v1", "rollouts", name] => Rollout(decode(name)?),
            ["v1", "rollouts", name, "kill"] => Kill(decode(name)?),
            ["v1", "rollouts", name, "resume"] => Resume(decode(name)?),
            ["v1", "rollouts", name, "history"] => RolloutHistory(decode(name)?),
            ["v1", "sessions"] => Sessions,
            ["v1", "sessions", "close"] => CloseSessions,
            ["v1", "sessions", "notify"] => NotifySessions,
            ["v1", "revoke"] => Revoke,
            ["v1", "topics"] => Topics,
            ["v1", "drain"] => Drain,
            ["v1", "upgrade"] => Upgrade,
            ["v1", "config"] => Config,
            ["v1", "config", "reload"] => Reload,
            ["v1", "config", "undo"] => Undo,
            ["v1", "config", "history"] => ConfigHistory,
            _ => return None,
        })
    }

    /// The `Allow` field. Nothing with an effect is a GET.
    pub fn allowed(&self) -> &'static str {
        use Resource::*;
        match self {
            Live | Ready | Metrics | OpenApi | Health | Explain | Rollouts | RolloutHistory(_)
            | Sessions | Topics | ConfigHistory => "GET, HEAD",
            Rollout(_) => "GET, HEAD, PATCH",
            Upgrade => "GET, HEAD, POST",
            Config => "GET, HEAD, PUT",
            Drain => "POST, DELETE",
            Kill(_) | Resume(_) | CloseSessions | NotifySessions | Revoke | Reload | Undo => "POST",
        }
    }

    /// Whether this method is one of them.
    pub fn knows(&self, method: &Method) -> bool {
        self.allowed().split(", ").any(|m| m == method.as_str())
    }

    /// Open to probes and scrapers: no token, no `Host` check.
    pub fn is_open(&self) -> bool {
        matches!(self, Resource::Live | Resource::Ready | Resource::Metrics)
    }
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(segment).decode_utf8();
    text.ok().map(String::from).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_nothing_else_is_guessed() {
        let rollout = |name: &str| Some(Resource::Rollout(name.into()));
        assert_eq!(Resource::find("/v1/rollouts/web"), rollout("web"));
        assert_eq!(Resource::find("/v1/rollouts/a%2Fb"), rollout("a/b"));
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v1/rollouts/",
            "/v1/rollouts/%ff",
            "/livez/",
            "//livez",
            "/v1/maintenance",
        ] {
            assert_eq!(Resource::find(path), None, "{path}");
        }
    }

    #[test]
    fn the_openapi_document_knows_every_path_and_method() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut found = Vec::new();
        for (path, methods) in paths {
            let resource = Resource::find(&path.replace("{name}", "web"));
            let resource = resource.unwrap_or_else(|| panic!("{path} is nowhere"));
            let mut documented: Vec<String> = methods
                .as_object()
                .unwrap()
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let mut known: Vec<String> = resource
                .allowed()
                .split(", ")
                .filter(|method| *method != "HEAD")
                .map(str::to_owned)
                .collect();
            documented.sort();
            known.sort();
            assert_eq!(documented, known, "{path}");
            found.push(std::mem::discriminant(&resource));
        }
        // As many as the enum has: a new one must be documented too.
        assert_eq!(found.len(), 22);
    }
}
