//! What a story needs, in the order in which it is said: `proxy().sse("/ids").auth(jwt()).start()`.

use super::app::{App, Script};
use super::auth::{Policy, key};
use super::{Message, Peer, Proxy};
use futures_util::future::BoxFuture;

/// A proxy before a legacy application of its own; its routes follow.
pub fn proxy() -> Builder {
    Builder::default()
}

#[derive(Default)]
pub struct Builder {
    server: String,
    tables: String,
    routes: Vec<Route>,
    script: Script,
}

struct Route {
    path: String,
    lines: Vec<String>,
}

impl Builder {
    /// A route whose requests are passed on.
    pub fn route(mut self, path: &str) -> Self {
        self.routes.push(Route {
            path: path.to_owned(),
            lines: Vec::new(),
        });
        self
    }

    /// A bridged event stream.
    pub fn sse(self, path: &str) -> Self {
        self.route(path).line("source = \"sse\"")
    }

    /// A polled document.
    pub fn poll(self, path: &str) -> Self {
        self.route(path)
            .line("source = {kind = \"poll\", every = \"50ms\"}")
    }

    /// A route for all that no other route takes.
    pub fn everything(self) -> Self {
        self.route("/{*path}")
    }

    /// Makes an earlier route the newest one again, for more lines.
    pub fn at(mut self, path: &str) -> Self {
        let found = self.routes.iter().position(|route| route.path == path);
        let route = self.routes.remove(found.expect("a route of this path"));
        self.routes.push(route);
        self
    }

    /// One more line of the newest route, or one in place of that key's.
    pub fn line(mut self, line: &str) -> Self {
        let newest = self.routes.last_mut().expect("a route before its line");
        newest.lines.retain(|known| key(known) != key(line));
        newest.lines.push(line.to_owned());
        self
    }

    /// Guards every route that was named so far, and is not guarded yet.
    pub fn auth(mut self, policy: Policy) -> Self {
        for route in &mut self.routes {
            if !route.lines.iter().any(|line| line.starts_with("auth = ")) {
                route.lines.push(format!("auth = \"{}\"", policy.name));
            }
        }
        self.toml(&policy.text)
    }

    /// The rollout `web` over every bridged route that was named so far; `lines` are its own.
    pub fn rollout(mut self, lines: &str) -> Self {
        for route in &mut self.routes {
            if route.lines.iter().any(|line| line.starts_with("source = ")) {
                route.lines.push("rollout = \"web\"".to_owned());
            }
        }
        self.toml(&format!("[rollout.web]\n{lines}"))
    }

    /// Lines of `[server]`.
    pub fn server(mut self, lines: &str) -> Self {
        self.server += &format!("{lines}\n");
        self
    }

    /// Whole tables, as they stand in a file.
    pub fn toml(mut self, tables: &str) -> Self {
        self.tables += &format!("{tables}\n");
        self
    }

    /// What the application does with requests for this path.
    pub fn on<F, Answered>(mut self, path: &str, answer: F) -> Self
    where
        F: Fn(Message, Peer) -> Answered + Send + Sync + 'static,
        Answered: Future<Output = Option<Peer>> + Send + 'static,
    {
        let answer = Box::new(move |request, peer| -> BoxFuture<'static, _> {
            Box::pin(answer(request, peer))
        });
        self.script.answers.push((path.to_owned(), answer));
        self
    }

    /// Events of at least this size.
    pub fn padding(mut self, size: usize) -> Self {
        self.script.padding = size;
        self
    }

    /// Starts the application, and the proxy before it.
    pub async fn start(self) -> Proxy {
        let (server, routes) = (self.server.clone(), self.text());
        let app = self.app().await;
        let mut proxy = Proxy::before(&app.backend, &server, &routes).await;
        proxy.app = Some(app);
        proxy
    }

    /// The application alone; polled routes are its documents.
    pub async fn app(mut self) -> App {
        let mut polled = self.routes.iter().filter(|route| route.is_polled());
        let fixed = |path: &str| path.split('{').next().unwrap().to_owned();
        let documents = polled.by_ref().map(|route| fixed(&route.path)).collect();
        self.script.documents = documents;
        App::start(self.script).await
    }

    /// The configuration apart from listeners and upstream.
    pub fn text(&self) -> String {
        let routes: String = self.routes.iter().map(Route::text).collect();
        format!("{}{routes}", self.tables)
    }
}

impl Route {
    fn is_polled(&self) -> bool {
        self.lines.iter().any(|line| line.contains("\"poll\""))
    }

    /// Named like its path where that is one word.
    fn text(&self) -> String {
        let mut lines = vec![format!("path = \"{}\"", self.path)];
        let word = self.path.trim_start_matches('/');
        let is_word = !word.is_empty() && word.chars().all(char::is_alphanumeric);
        if is_word && !self.lines.iter().any(|line| line.starts_with("name = ")) {
            lines.push(format!("name = \"{word}\""));
        }
        lines.push("upstream = \"app\"".to_owned());
        lines.extend_from_slice(&self.lines);
        format!("[[route]]\n{}\n", lines.join("\n"))
    }
}
