//! kubeconfig files.

use crate::Access;
use std::{fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// Why a kubeconfig file is not there.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It can't be written as YAML.
    #[error("cannot write the kubeconfig as YAML")]
    Yaml(#[source] serde_yaml_ng::Error),
    /// It can't be written to disk.
    #[error("cannot write {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes `access` to `path`, whole or not at all, readable by its owner only. `name` is what cluster, user and context are
/// called; `namespace` is the default one.
///
/// # Errors
/// When the file can't be written.
pub fn write(path: &Path, access: &Access, name: &str, namespace: Option<&str>) -> Result<(), WriteError> {
    let mut kubeconfig = access.to_kubeconfig(name);
    for context in &mut kubeconfig.contexts {
        if let Some(context) = &mut context.context {
            context.namespace = namespace.map(str::to_owned);
        }
    }
    // kube keeps keys wrapped so that they are not printed by accident; this file is the one place that holds them.
    let text = serde_yaml_ng::to_string(&kubeconfig).map_err(WriteError::Yaml)?;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| WriteError::File { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_identity::{Authority, Profile, Usage};
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    #[test]
    fn the_file_holds_everything_that_kubectl_needs_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_create(directory.path(), "clients").unwrap();
        let profile = Profile {
            common_name: "admin".into(),
            organization: Some("system:masters".into()),
            alternative_names: vec![],
            usage: Usage::Client,
            lifetime: Duration::from_secs(60),
        };
        let access = Access {
            endpoint: "https://127.0.0.1:6443".into(),
            server_ca_pem: authority.certificate_pem().into(),
            credentials: authority.issue(&profile).unwrap(),
        };
        let path = directory.path().join("kubeconfig");
        write(&path, &access, "supervisor-1", Some("demo")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = kube::config::Kubeconfig::read_from(&path).unwrap();
        assert_eq!(read.contexts[0].context.as_ref().unwrap().namespace.as_deref(), Some("demo"));
        let text = fs::read_to_string(&path).unwrap();
        for part in
            ["client-key-data:", "client-certificate-data:", "certificate-authority-data:", "https://127.0.0.1:6443"]
        {
            let line = text.lines().find(|line| line.contains(part)).unwrap_or_default();
            assert!(line.len() > part.len() + 1 || part.starts_with("https"), "{part}: {line}");
        }
    }
}
