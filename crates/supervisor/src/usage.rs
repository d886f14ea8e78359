//! The resource metrics, plugged into the aggregation as a server of this process.

use orrery_machinery::{descriptor::ResourceDescriptor, status::ApiError};
use orrery_resource_metrics::ResourceMetrics;
use serde_json::Value;
use std::sync::Arc;

pub(crate) struct Usage(pub(crate) Arc<ResourceMetrics>);

#[async_trait::async_trait]
impl orrery_aggregation::Inside for Usage {
    fn resources(&self) -> Vec<Arc<ResourceDescriptor>> {
        ResourceMetrics::resources()
    }

    async fn objects(&self, plural: &str, namespace: &str) -> Result<Vec<Value>, ApiError> {
        self.0.objects(plural, namespace).await
    }
}
