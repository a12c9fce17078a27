//! Which endpoints a path has.

use hyper::Method;

use super::endpoint::Endpoint;
use super::endpoints::ENDPOINTS;

/// The endpoints of one path.
pub(crate) struct Resource {
    /// What stands for `{name}` in it.
    pub(crate) name: String,
    endpoints: Vec<&'static Endpoint>,
}

impl Resource {
    /// What this path names, if anything.
    pub(crate) fn find(path: &str) -> Option<Self> {
        let mut all = ENDPOINTS.iter();
        let (form, name) =
            all.find_map(|endpoint| Some((endpoint.path, name_in(path, endpoint.path)?)))?;
        let same = ENDPOINTS.iter().filter(|endpoint| endpoint.path == form);
        let endpoints = same.collect();
        Some(Resource { name, endpoints })
    }

    /// The `Allow` field. Nothing with an effect is a GET.
    pub(crate) fn allowed(&self) -> String {
        let methods = self.endpoints.iter().map(|endpoint| match endpoint.method {
            Method::GET => "GET, HEAD",
            ref other => other.as_str(),
        });
        methods.collect::<Vec<_>>().join(", ")
    }

    /// The one of this method; a HEAD is answered as a GET.
    pub(crate) fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let mut all = self.endpoints.iter().copied();
        all.find(|endpoint| endpoint.method == method)
    }

    /// Open to probes and scrapers: no token, no `Host` check.
    pub(crate) fn is_open(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.is_open)
    }
}

/// What stands for `{name}` in a path of this form, decoded; an empty text where the form has no name.
fn name_in(path: &str, form: &str) -> Option<String> {
    let mut name = String::new();
    let mut segments = path.split('/');
    for part in form.split('/') {
        let segment = segments.next()?;
        match part {
            "{name}" => name = decode(segment)?,
            _ if part == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(name)
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
        let name = |path: &str| Resource::find(path).map(|resource| resource.name);
        assert_eq!(name("/v1/rollouts/web").as_deref(), Some("web"));
        assert_eq!(name("/v1/rollouts/a%2Fb/kill").as_deref(), Some("a/b"));
        assert_eq!(name("/v1/rollouts").as_deref(), Some(""));
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v1/rollouts/",
            "/v1/rollouts/%ff",
            "/v1/rollouts//kill",
            "/v1/rollouts/{name}/other",
            "/livez/",
            "//livez",
            "livez",
            "/v1/maintenance",
        ] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn each_path_has_its_methods_and_three_are_open() {
        let mut open = Vec::new();
        for endpoint in ENDPOINTS.iter() {
            let resource = Resource::find(endpoint.path).unwrap();
            let found = resource.endpoint(&endpoint.method).unwrap();
            assert_eq!(found.description.id, endpoint.description.id);
            assert!(resource.allowed().contains(endpoint.method.as_str()));
            open.extend(resource.is_open().then_some(endpoint.path));
        }
        assert_eq!(open, ["/livez", "/readyz", "/metrics"]);
        let drain = Resource::find("/v1/drain").unwrap();
        assert_eq!(drain.allowed(), "POST, DELETE");
        assert!(drain.endpoint(&Method::HEAD).is_none());
        let config = Resource::find("/v1/config").unwrap();
        assert_eq!(config.allowed(), "GET, HEAD, PUT");
        assert!(config.endpoint(&Method::HEAD).is_some());
    }
}
