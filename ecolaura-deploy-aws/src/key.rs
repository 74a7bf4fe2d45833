//! The name of an effect: the same for every attempt of a step in a run.

use ecolaura_deploy_core::{
    Context,
    nonce::{NonceSource as _, RandomNonces},
    vocabulary::Digest,
};

/// What `name` is made under by this step of this run; outside of runs, by this call alone.
pub(crate) fn of_effect(cx: &Context, name: &str) -> Digest {
    let once = if cx.run_id() == "none" { RandomNonces.next().to_string() } else { String::new() };
    Digest::of(format!("{}\n{name}\n{once}", cx.effect_key()))
}
