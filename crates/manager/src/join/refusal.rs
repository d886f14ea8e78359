//! Why a host is refused, and with which status.

use super::{EnrolError, TokenError};
use crate::inventory::{InventoryError, chain};
use orrery_api::names::InvalidName;
use orrery_identity::IdentityError;
use orrery_machinery::status::ApiError;

/// Why a host is refused. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The token is of no use.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The name that the host wants is none.
    #[error("choose another name for the host: {0}")]
    Name(InvalidName),
    /// The facts are another host's.
    #[error("the facts are of the host {facts:?}, but {host:?} speaks; start the agent with one name")]
    OtherHost {
        /// Who speaks.
        host: String,
        /// Whose facts they are.
        facts: String,
    },
    /// The facts make no sense.
    #[error("the host reports the accelerator {0:?}; this manager knows KVM and TCG: upgrade the manager")]
    Accelerator(String),
    /// The token's cluster is gone.
    #[error("the token is for the cluster {0:?}, which is not in the inventory; ask for a token for another cluster")]
    UnknownCluster(String),
    /// The name belongs to a host of another cluster.
    #[error(
        "the host {host:?} is in the cluster {has:?} and the token is for {wants:?}; delete the host from the inventory \
         first, or ask for a token for {has:?}"
    )]
    OtherCluster {
        /// The name.
        host: String,
        /// Where it is.
        has: String,
        /// What the token is for.
        wants: String,
    },
    /// The name belongs to a host that is alive.
    #[error("a host {0:?} is in the inventory and alive; choose another name, or stop that host first")]
    Duplicate(String),
    /// The signing request is of no use.
    #[error("the certificate signing request is of no use; make a new one")]
    Request(#[source] IdentityError),
    /// The caller's certificate is not a host's.
    #[error("only hosts may do this: use the certificate that the host got when it joined")]
    NoHost,
    /// The host was removed.
    #[error("the host {0:?} is not in the inventory any more; join again with a new token")]
    NotInInventory(String),
    /// The host's cluster has not got this Supervisor, or not yet.
    #[error("the host {host:?} does not serve the Supervisor {supervisor:?}; wait until a heartbeat names one")]
    NotAssigned {
        /// Who asks.
        host: String,
        /// For what.
        supervisor: String,
    },
    /// The Supervisor refuses or fails.
    #[error("the host cannot be enrolled")]
    Enrol(#[from] EnrolError),
    /// The manager's own trouble.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
}

impl Refusal {
    /// The answer. Statuses are chosen here and nowhere else.
    pub(super) fn to_api(&self) -> ApiError {
        let error = |code, reason| ApiError { code, reason, message: chain(self), details: None };
        match self {
            Self::Token(token) => token.to_api(),
            Self::Name(_) | Self::OtherHost { .. } | Self::Accelerator(_) | Self::Request(_) => {
                error(400, "BadRequest")
            }
            Self::NoHost => error(403, "Forbidden"),
            Self::UnknownCluster(_) | Self::NotInInventory(_) => error(404, "NotFound"),
            Self::OtherCluster { .. } | Self::Duplicate(_) | Self::NotAssigned { .. } => error(409, "Conflict"),
            Self::Enrol(EnrolError::NotReady(_)) => error(503, "ServiceUnavailable"),
            Self::Enrol(EnrolError::Refused(_)) => error(403, "Forbidden"),
            Self::Enrol(EnrolError::Failed(_)) => error(500, "InternalError"),
            Self::Inventory(inventory) => inventory.to_api(),
        }
    }
}
