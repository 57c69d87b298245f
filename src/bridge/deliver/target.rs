//! What deliveries ask of a helpdesk.

use std::future::Future;

use crate::bridge::helpdesk::{Case, Helpdesk, Values, Whereabouts};
use crate::bridge::http::CallError;

/// A helpdesk, as far as deliveries go; faked in their tests. The operations are those of [`Helpdesk`].
pub trait Target {
    /// See [`Helpdesk::find`].
    fn find(&self, reference: &str) -> impl Future<Output = Result<Option<Vec<String>>, CallError>>;
    /// See [`Helpdesk::create`].
    fn create(&self, values: &Values) -> impl Future<Output = Result<Case, (CallError, Option<Case>)>>;
    /// See [`Helpdesk::complete`].
    fn complete(&self, case: &Case, values: &Values) -> impl Future<Output = Result<(), CallError>>;
    /// See [`Helpdesk::note`].
    fn note(&self, case: &Case, values: &Values) -> impl Future<Output = Result<Values, CallError>>;
    /// See [`Helpdesk::reprioritise`].
    fn reprioritise(&self, case: &Case, values: &Values) -> impl Future<Output = Result<(), CallError>>;
    /// See [`Helpdesk::erase`].
    fn erase(&self, case: &Case, values: &Values) -> impl Future<Output = Result<(), CallError>>;
    /// See [`Helpdesk::erase_note`].
    fn erase_note(
        &self,
        case: &Case,
        note: &Values,
        values: &Values,
    ) -> impl Future<Output = Result<(), CallError>>;
    /// See [`Helpdesk::whereabouts`].
    fn whereabouts(&self, case: &Case) -> impl Future<Output = Result<Whereabouts, CallError>>;
    /// See [`Helpdesk::answers`].
    fn answers(&self) -> u64;
    /// See [`Helpdesk::is_sound`].
    fn is_sound(&self) -> impl Future<Output = Result<bool, CallError>>;
}

impl Target for Helpdesk {
    async fn find(&self, reference: &str) -> Result<Option<Vec<String>>, CallError> {
        Helpdesk::find(self, reference).await
    }

    async fn create(&self, values: &Values) -> Result<Case, (CallError, Option<Case>)> {
        Helpdesk::create(self, values).await
    }

    async fn complete(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        Helpdesk::complete(self, case, values).await
    }

    async fn note(&self, case: &Case, values: &Values) -> Result<Values, CallError> {
        Helpdesk::note(self, case, values).await
    }

    async fn reprioritise(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        Helpdesk::reprioritise(self, case, values).await
    }

    async fn erase(&self, case: &Case, values: &Values) -> Result<(), CallError> {
        Helpdesk::erase(self, case, values).await
    }

    async fn erase_note(&self, case: &Case, note: &Values, values: &Values) -> Result<(), CallError> {
        Helpdesk::erase_note(self, case, note, values).await
    }

    async fn whereabouts(&self, case: &Case) -> Result<Whereabouts, CallError> {
        Helpdesk::whereabouts(self, case).await
    }

    fn answers(&self) -> u64 {
        Helpdesk::answers(self)
    }

    async fn is_sound(&self) -> Result<bool, CallError> {
        Helpdesk::is_sound(self).await
    }
}
