//! Who owns which field of an object: what the registry tells `orrery_merge::apply`, and what it makes of the answers.

use super::{Context, Registry, Table};
use crate::{custom::convert::Answers, object};
use orrery_machinery::{meta, shape::Shape, status::ApiError};
use orrery_merge::apply::{self, Apply, ConvertError, Ignored, Resource, Update, Versions, Writer};
use serde_json::Value;

/// The versions of the resource that a request is for.
struct Served<'a> {
    table: &'a Table,
    context: &'a Context<'a>,
    answers: &'a Answers,
}

impl Versions for Served<'_> {
    fn convert(&self, object: Value, from: &str, to: &str) -> Result<(Value, Shape), ConvertError> {
        let resource = self.context.resource;
        let find = |version: &str| {
            let all = self.table.all().iter();
            let mut same = all.filter(|other| {
                other.stored.group == resource.stored.group && other.stored.plural == resource.stored.plural
            });
            same.find(|other| other.api_version() == version)
        };
        let (Some(source), Some(target)) = (find(from), find(to)) else {
            return Err(ConvertError::NoSuchVersion(to.to_owned()));
        };
        if source.converter.is_some() {
            return Ok((self.answers.get(object, to)?, target.shape.clone()));
        }
        let mut object = object;
        let failed = |error: ApiError| ConvertError::Failed(error.message);
        source.rules.on_write(&mut object).map_err(failed)?;
        target.rules.on_read(&mut object).map_err(failed)?;
        object["apiVersion"] = to.into();
        Ok((object, target.shape.clone()))
    }
}

impl Registry {
    /// Brings the owners of `new` up to date after a write that is no apply. The server's own writes are nobody's.
    ///
    /// # Errors
    /// When the object cannot be converted to a version in which somebody owns fields of it.
    pub(crate) async fn track(
        &self,
        context: &Context<'_>,
        live: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if context.caller.is_none() {
            return Ok(());
        }
        let answers = Answers::default();
        let problem = loop {
            if context.resource.converter.is_none() {
                break track(context, &self.table(), live, new, &answers);
            }
            // What is not known yet is asked for, and then all begins anew.
            let mut tracked = new.clone();
            let problem = track(context, &self.table(), live, &mut tracked, &answers);
            if !self.conversions.answer(context.resource, &answers).await? {
                *new = tracked;
                break problem;
            }
        };
        if let Some(problem) = problem {
            let name = meta::name(new);
            tracing::debug!(kind = %context.resource.kind, name, problem, "the owners of fields stay as they were");
        }
        Ok(())
    }
}

fn track(
    context: &Context<'_>,
    table: &Table,
    live: Option<&Value>,
    new: &mut Value,
    answers: &Answers,
) -> Option<String> {
    let api_version = context.api_version();
    let versions = Served { table, context, answers };
    let ignored = Ignored::Nothing;
    let now = object::now_text();
    let update =
        Update { live, resource: resource(context, &api_version, &ignored, &versions), writer: writer(context, &now) };
    apply::track(&update, new)
}

/// What applying `config` makes of the object.
pub(super) fn applied(
    context: &Context<'_>,
    table: &Table,
    live: Option<&Value>,
    config: &Value,
    answers: &Answers,
) -> Result<Value, ApiError> {
    let api_version = context.api_version();
    let versions = Served { table, context, answers };
    let ignored = Ignored::at(context.resource, &context.subresource);
    let now = object::now_text();
    let request = Apply {
        live,
        config,
        force: context.options.force == Some(true),
        resource: resource(context, &api_version, &ignored, &versions),
        writer: writer(context, &now),
    };
    apply::apply(&request).map(|applied| applied.object)
}

fn resource<'a>(
    context: &'a Context<'_>,
    api_version: &'a str,
    ignored: &'a Ignored<'a>,
    versions: &'a dyn Versions,
) -> Resource<'a> {
    Resource { api_version, kind: &context.resource.kind, shape: &context.resource.shape, ignored, versions }
}

fn writer<'a>(context: &'a Context<'_>, now: &'a str) -> Writer<'a> {
    Writer { manager: &context.options.manager, subresource: &context.subresource, now }
}
