use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, Rollout, Route};

/// What the file says of a rollout, and of the routes that it governs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The rollout itself.
    pub(crate) rollout: Arc<Rollout>,
    /// The bridged routes that name it.
    pub(crate) routes: Vec<Arc<Route>>,
}

/// Every configured rollout, by name.
pub(crate) type Plans = BTreeMap<String, Arc<Plan>>;

/// What the file says of its rollouts.
pub(crate) fn plans(config: &Config) -> Plans {
    let plan = |(name, rollout): (&String, &Arc<Rollout>)| {
        let routes = config.routes.iter().filter(|route| {
            let governed = route.rollout.as_ref();
            route.source.is_some() && governed.is_some_and(|governed| governed.name == rollout.name)
        });
        let plan = Plan {
            rollout: rollout.clone(),
            routes: routes.cloned().collect(),
        };
        (name.clone(), Arc::new(plan))
    };
    config.rollouts.iter().map(plan).collect()
}
