//! Small languages: paths, quantities, schedules.

use crate::{input::Source, kinds::KINDS};
use orrery_api::units::{Bytes, MilliCpu, parse_quantity_milli};
use orrery_schema::columns::Column;
use orrery_schema::jsonpath::{Path, SimplePath};
use serde_json::json;

/// Lines: a path, an object.
pub(crate) fn jsonpath(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (text, object) = (source.text(), source.value());
    if let Ok(path) = Path::parse(&text) {
        let _ = path.find(&object);
        let _ = path.text(&object);
    }
    if let Some(column) = Column::read(&json!({"name": "C", "type": "string", "jsonPath": text})) {
        drop(column.cell(&object));
    }
    if let Ok(path) = SimplePath::parse(&text) {
        let mut changed = object;
        if path.set(&mut changed, json!(7)) {
            assert_eq!(path.get(&changed), Some(&json!(7)), "what is set is there");
        }
    }
}

/// A line: a quantity.
pub(crate) fn quantity(bytes: &[u8]) {
    let text = Source::new(bytes).text();
    let milli = parse_quantity_milli(&text);
    if let Ok(cpu) = MilliCpu::from_quantity(&text) {
        assert_eq!(MilliCpu::from_quantity(&cpu.to_quantity()), Ok(cpu), "what is printed is read back");
        assert_eq!(milli, Ok(u128::from(cpu.0)));
    }
    if let Ok(bytes) = Bytes::from_quantity(&text) {
        assert_eq!(Bytes::from_quantity(&bytes.to_quantity()), Ok(bytes), "what is printed is read back");
    }
    let mut errors = Vec::new();
    orrery_kinds_quantity(&text, &mut errors);
}

fn orrery_kinds_quantity(text: &str, errors: &mut Vec<orrery_machinery::status::FieldError>) {
    let Some(quotas) = KINDS.iter().find(|kind| kind.plural == "resourcequotas") else { return };
    let object = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"hard": {"cpu": text, "pods": text}}});
    errors.extend(quotas.rules.validate(&object, None));
}

/// Lines: a schedule, a time zone.
pub(crate) fn cron(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let (schedule, zone) = (source.text(), source.text());
    let jobs = KINDS.iter().find(|kind| kind.plural == "cronjobs").expect("there are cron jobs");
    let mut object = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a", "namespace": "b"},
        "spec": {"schedule": schedule, "timeZone": zone, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
    jobs.rules.decode(&mut object).expect("it is a cron job");
    jobs.rules.default(&mut object);
    drop(jobs.rules.validate(&object, None));
}
