//! Bodies of requests and answers by their types. A type that is read or sent also says what the OpenAPI document tells of it.

use bytes::Bytes;
use futures_util::future::Either;
use hyper::StatusCode;
use hyper::header::ETAG;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::Asked;
use super::response::{self, Answer, Fault};
use super::schema::shorten;
use crate::http::problem::status;

/// What an endpoint reads of a request's body.
pub(crate) trait TypedBody: Sized {
    /// Takes it apart.
    ///
    /// # Errors
    /// 400 where it is malformed, 422 where it says something unknown.
    fn read(asked: &Asked) -> Result<Self, Fault>;

    /// For the document; `None` where the body is not looked at.
    fn description() -> Option<BodyDescription>;
}

/// What the document says of a request's body.
pub(crate) struct BodyDescription {
    /// Whether there must be one.
    pub(crate) required: bool,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its schema.
    pub(crate) schema: Value,
    /// The 400 that it may lead to.
    pub(crate) malformed: &'static str,
    /// The 422 that it may lead to, where the endpoint says nothing else of it.
    pub(crate) unprocessable: Option<&'static str>,
}

/// What an endpoint answers when it does what it was asked for.
pub(crate) trait Reply {
    /// The answer.
    fn answer(self) -> Answer;

    /// For the document: each status with its content and headers.
    fn description(schemas: &mut SchemaGenerator) -> Vec<(u16, Value)>;
}

/// JSON: a request's body, or an answer.
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON answer with the generation of what it shows as its `ETag`.
pub(crate) struct Tagged<T> {
    /// The document.
    pub(crate) document: T,
    /// Its generation.
    pub(crate) generation: u64,
}

/// Another status than 200.
pub(crate) struct WithStatus<const CODE: u16, R>(pub(crate) R);

/// An answer in plain text.
pub(crate) struct Text {
    /// With its parameters.
    pub(crate) content_type: &'static str,
    /// The body.
    pub(crate) text: String,
}

/// A request's body in TOML, as it came.
pub(crate) struct Toml(pub(crate) Bytes);

/// No member at all.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("properties" = {}))]
pub(crate) struct Nothing {}

impl TypedBody for () {
    fn read(_: &Asked) -> Result<Self, Fault> {
        Ok(())
    }

    fn description() -> Option<BodyDescription> {
        None
    }
}

impl<T: DeserializeOwned + JsonSchema> TypedBody for Json<T> {
    fn read(asked: &Asked) -> Result<Self, Fault> {
        asked.json().map(Json)
    }

    fn description() -> Option<BodyDescription> {
        // Readers find the members of a body in its place, without a reference.
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let generator = settings.with_transform(shorten).into_generator();
        let mut schema = generator.into_root_schema_for::<T>();
        schema.remove("title");
        Some(BodyDescription {
            required: true,
            media_type: "application/json",
            schema: schema.to_value(),
            malformed: "The body is no JSON document",
            unprocessable: Some(
                "The body is no object, or a member is unknown, missing or out of range",
            ),
        })
    }
}

/// The body may be left out.
impl<T: DeserializeOwned + JsonSchema> TypedBody for Option<Json<T>> {
    fn read(asked: &Asked) -> Result<Self, Fault> {
        let is_there = !asked.body.is_empty();
        is_there.then(|| Json::read(asked)).transpose()
    }

    fn description() -> Option<BodyDescription> {
        Some(BodyDescription {
            required: false,
            ..Json::<T>::description()?
        })
    }
}

impl TypedBody for Toml {
    fn read(asked: &Asked) -> Result<Self, Fault> {
        Ok(Toml(asked.body.clone()))
    }

    fn description() -> Option<BodyDescription> {
        Some(BodyDescription {
            required: true,
            media_type: "text/toml",
            schema: json!({ "type": "string" }),
            malformed: "The body broke off, or is not UTF-8",
            unprocessable: None,
        })
    }
}

impl<T: Serialize + JsonSchema> Reply for Json<T> {
    fn answer(self) -> Answer {
        response::json(&self.0)
    }

    fn description(schemas: &mut SchemaGenerator) -> Vec<(u16, Value)> {
        let schema = schemas.subschema_for::<T>();
        let content = json!({ "content": { "application/json": { "schema": schema } } });
        vec![(200, content)]
    }
}

impl<T: Serialize + JsonSchema> Reply for Tagged<T> {
    fn answer(self) -> Answer {
        let mut answer = response::json(&self.document);
        let tag = response::etag(self.generation);
        answer.headers_mut().insert(ETAG, tag);
        answer
    }

    fn description(schemas: &mut SchemaGenerator) -> Vec<(u16, Value)> {
        let mut all = Json::<T>::description(schemas);
        for (_, content) in &mut all {
            content["headers"] = json!({ "ETag": {
                "schema": { "type": "string" },
                "description": "The generation, quoted: send it back as If-Match",
            } });
        }
        all
    }
}

impl<const CODE: u16, R: Reply> Reply for WithStatus<CODE, R> {
    fn answer(self) -> Answer {
        let mut answer = self.0.answer();
        *answer.status_mut() = status(CODE);
        answer
    }

    fn description(schemas: &mut SchemaGenerator) -> Vec<(u16, Value)> {
        let all = R::description(schemas).into_iter();
        all.map(|(_, content)| (CODE, content)).collect()
    }
}

impl<A: Reply, B: Reply> Reply for Either<A, B> {
    fn answer(self) -> Answer {
        match self {
            Either::Left(reply) => reply.answer(),
            Either::Right(reply) => reply.answer(),
        }
    }

    fn description(schemas: &mut SchemaGenerator) -> Vec<(u16, Value)> {
        let mut all = A::description(schemas);
        all.extend(B::description(schemas));
        all
    }
}

impl Reply for Text {
    fn answer(self) -> Answer {
        response::body(StatusCode::OK, self.content_type, self.text)
    }

    fn description(_: &mut SchemaGenerator) -> Vec<(u16, Value)> {
        let content = json!({ "content": { "text/plain": { "schema": { "type": "string" } } } });
        vec![(200, content)]
    }
}
