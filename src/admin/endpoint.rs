//! One endpoint: the method and path by which it is found, the function that answers, and what the OpenAPI document says
//! of it. The types say what bodies hold; the rest is said where the endpoint is declared.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Method;
use schemars::SchemaGenerator;
use serde_json::Value;

use super::Admin;
use super::request::Asked;
use super::response::{Answer, Fault};
use super::typed::{BodyDescription, Reply, TypedBody};

/// A request for an endpoint.
pub(crate) struct Call {
    /// What it works on.
    pub(crate) admin: Arc<Admin>,
    /// What stands for `{name}` in the path; empty where the path has none.
    pub(crate) name: String,
    /// The request.
    pub(crate) asked: Asked,
}

/// One method of one path.
pub(crate) struct Endpoint {
    /// The method.
    pub(crate) method: Method,
    /// The path; `{name}` stands for any one segment.
    pub(crate) path: &'static str,
    /// Open to probes and scrapers: no token, no `Host` check.
    pub(crate) is_open: bool,
    /// What it may be asked for and what it answers.
    pub(crate) description: Description,
    handler: Handler,
}

type Handler = Box<dyn Fn(Call) -> BoxFuture<'static, Result<Answer, Fault>> + Send + Sync>;

/// What the OpenAPI document says of an endpoint.
pub(crate) struct Description {
    /// Its `operationId`.
    pub(crate) id: &'static str,
    /// What it does.
    pub(crate) summary: &'static str,
    /// What its query may hold.
    pub(crate) query: Vec<Parameter>,
    /// Whether it takes `If-Match`, and whether it must be there.
    pub(crate) if_match: Option<bool>,
    /// Its request's body.
    pub(crate) body: fn() -> Option<BodyDescription>,
    /// Its answers: each status with its content and headers.
    pub(crate) answers: fn(&mut SchemaGenerator) -> Vec<(u16, Value)>,
    /// What each of these answers means.
    pub(crate) meanings: &'static [&'static str],
    /// Refusals of its own.
    pub(crate) refusals: Vec<Refusal>,
}

/// The status of a refusal, and what it means.
pub(crate) type Refusal = (u16, &'static str);

/// A query parameter.
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it must be there.
    pub(crate) is_required: bool,
    /// What it means.
    pub(crate) description: &'static str,
    /// Its schema; one that is an array may be given any number of times.
    pub(crate) schema: Value,
}

/// A GET; HEAD comes with it.
pub(crate) fn get<R, F>(path: &'static str, handler: fn(Call) -> F) -> Endpoint
where
    R: Reply,
    F: Future<Output = Result<R, Fault>> + Send + 'static,
{
    Endpoint::new(Method::GET, path, move |call, ()| handler(call))
}

impl Endpoint {
    /// Its function reads a body, or `()` where it looks at none.
    pub(crate) fn new<B, R, F>(
        method: Method,
        path: &'static str,
        handler: impl Fn(Call, B) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        B: TypedBody + Send,
        R: Reply,
        F: Future<Output = Result<R, Fault>> + Send + 'static,
    {
        let handler = move |call: Call| {
            let answering = async move {
                let body = B::read(&call.asked)?;
                handler(call, body).await.map(Reply::answer)
            };
            answering.boxed()
        };
        Endpoint {
            method,
            path,
            is_open: false,
            description: Description {
                id: "",
                summary: "",
                query: Vec::new(),
                if_match: None,
                body: B::description,
                answers: R::description,
                meanings: &[],
                refusals: Vec::new(),
            },
            handler: Box::new(handler),
        }
    }

    /// Its `operationId`, what it does, and what each of its answers means.
    pub(crate) fn says(
        mut self,
        id: &'static str,
        summary: &'static str,
        meanings: &'static [&'static str],
    ) -> Self {
        (self.description.id, self.description.summary) = (id, summary);
        self.description.meanings = meanings;
        self
    }

    /// Open to probes and scrapers.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Takes these query parameters, and no others.
    pub(crate) fn query(mut self, parameters: Vec<Parameter>) -> Self {
        self.description.query = parameters;
        self
    }

    /// Looks at `If-Match`; refuses a request without it where it is required.
    pub(crate) fn if_match(mut self, is_required: bool) -> Self {
        self.description.if_match = Some(is_required);
        self
    }

    /// Refuses in these ways, beside those that its parameters and bodies bring.
    pub(crate) fn refuses(mut self, refusals: &[Refusal]) -> Self {
        self.description.refusals.extend(refusals);
        self
    }

    /// Answers a request.
    ///
    /// # Errors
    /// A refusal.
    pub(crate) async fn answer(&self, call: Call) -> Result<Answer, Fault> {
        let query = self.description.query.iter();
        let known: Vec<&str> = query.map(|parameter| parameter.name).collect();
        if !known.is_empty() {
            call.asked.only(&known)?;
        }
        (self.handler)(call).await
    }
}
