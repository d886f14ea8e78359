//! What the variables stand for in a request.

use crate::structural::Structural;
use orrery_cel::{Activation, Authorizer, Check, Decl, EvalError, Program, Val};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

/// A request as expressions see it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The object that is to be; none when it is deleted.
    pub object: Option<&'a Value>,
    /// The object that was; none when it is created.
    pub old_object: Option<&'a Value>,
    /// `admission/v1 AdmissionRequest`, without its objects.
    pub request: &'a Value,
    /// The parameters of a policy's binding.
    pub params: Option<&'a Value>,
    /// The namespace of the object; none when it has none.
    pub namespace: Option<&'a Value>,
    /// Who decides what the requester may do.
    pub authorizer: Option<&'a dyn Authorizer>,
}

impl<'a> Input<'a> {
    /// Names for all values.
    pub(super) fn activation(&self, variables: &'a [(String, Program)]) -> Result<Activation<'a>, EvalError> {
        let dynamic = |value: Option<&'a Value>| value.map_or(Val::Null, Val::dynamic);
        let namespace = match self.namespace {
            Some(namespace) => Val::declared(namespace, namespace_decl())?,
            None => Val::Null,
        };
        let mut activation = Activation::new()
            .with("object", dynamic(self.object))
            .with("oldObject", dynamic(self.old_object))
            .with("request", Val::dynamic(self.request))
            .with("params", dynamic(self.params))
            .with("namespaceObject", namespace)
            .with_variables(variables);
        if let Some(authorizer) = self.authorizer {
            activation = activation
                .with("authorizer", Val::authorizer(authorizer))
                .with("authorizer.requestResource", Val::resource_check(authorizer, self.requested()));
        }
        Ok(activation)
    }

    /// What the request is about, as a check without a verb.
    fn requested(&self) -> Check {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let request = self.request;
        Check {
            group: text(&request["resource"]["group"]),
            resource: text(&request["resource"]["resource"]),
            subresource: text(&request["subResource"]),
            namespace: text(&request["namespace"]),
            name: text(&request["name"]),
            ..Check::default()
        }
    }
}

/// What expressions see of a namespace.
pub(super) fn namespace_decl() -> &'static Arc<Decl> {
    static DECL: LazyLock<Arc<Decl>> = LazyLock::new(|| {
        let text = || json!({"type": "string"});
        let time = || json!({"type": "string", "format": "date-time"});
        let texts = || json!({"type": "array", "items": {"type": "string"}});
        let map = || json!({"type": "object", "additionalProperties": {"type": "string"}});
        let schema = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {
                "name": text(), "generateName": text(), "namespace": text(), "labels": map(), "annotations": map(),
                "uid": text(), "creationTimestamp": time(), "deletionGracePeriodSeconds": {"type": "integer"},
                "deletionTimestamp": time(), "generation": {"type": "integer"}, "resourceVersion": text(),
                "finalizers": texts(),
            }},
            "spec": {"type": "object", "properties": {"finalizers": texts()}},
            "status": {"type": "object", "properties": {"phase": text(), "conditions": {"type": "array", "items": {
                "type": "object", "properties": {"status": text(), "type": text(), "lastTransitionTime": time(),
                    "message": text(), "reason": text()},
            }}}},
        }});
        let schema = Structural::read(&schema).expect("written here and covered by a test");
        Arc::new(schema.decl(false).expect("written here and covered by a test"))
    });
    &DECL
}
