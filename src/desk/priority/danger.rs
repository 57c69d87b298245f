//! Danger goes first: a topic with a floor keeps its posts above all others, and each side keeps an order of its own.
//!
//! A sum that would leave its place is squeezed and not cut: more always counts, ever less, so that neither the worst
//! outages nor the posts of people in danger come to be alike.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Line, PRIORITY_MAX};

/// Below a floor sums are squeezed into so many points.
pub const SQUEEZED: u16 = 150;
/// So much more counts half of the room that there is.
const HALF_AT: i64 = 400;

const FLOOR_OF: &str = "floor of ";
const CEILING: &str = "ceiling";

/// The least priorities of posts that touch certain topics; other posts stay below them. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floors(Arc<[(String, u16)]>);

impl Floors {
    /// These, each [`SQUEEZED`] at least and less than [`PRIORITY_MAX`]; the others are left out.
    pub fn new(floors: impl IntoIterator<Item = (String, u16)>) -> Floors {
        let holds = |(_, floor): &(String, u16)| (SQUEEZED..PRIORITY_MAX).contains(floor);
        Floors(floors.into_iter().filter(holds).collect())
    }

    /// The floor of this topic.
    pub fn of(&self, topic: &str) -> Option<u16> {
        self.0.iter().find(|(name, _)| name == topic).map(|(_, floor)| *floor)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16)> {
        self.0.iter().map(|(topic, floor)| (topic.as_str(), *floor))
    }

    /// The least one above this; from there on posts are others'.
    fn above(&self, least: u16) -> Option<u16> {
        self.0.iter().map(|(_, floor)| *floor).filter(|floor| *floor > least).min()
    }
}

impl Default for Floors {
    /// Of the built-in topics.
    fn default() -> Floors {
        let floors = crate::desk::sensitive::BUILTIN.iter();
        Floors::new(floors.filter_map(|topic| Some((topic.name.to_owned(), topic.floor?))))
    }
}

/// Which floor a post stands on.
#[derive(Debug, Default)]
pub(super) struct Place(Option<(String, u16)>);

impl Place {
    /// Whether a line of this name is of a floor, or of what lies below them.
    pub(super) fn is_named(name: &str) -> bool {
        name == CEILING || Place::topic(name).is_some()
    }

    /// The topic whose floor a line of this name is of.
    pub(super) fn topic(name: &str) -> Option<&str> {
        name.strip_prefix(FLOOR_OF)
    }

    /// The highest floor counts, and the first of equals.
    pub(super) fn raise(&mut self, floors: &Floors, topic: &str) {
        let Some(floor) = floors.of(topic) else { return };
        if self.0.as_ref().is_none_or(|(_, highest)| floor > *highest) {
            self.0 = Some((topic.to_owned(), floor));
        }
    }

    /// The line that brings `total` to its place, if it is not there; `rest` is the part of it that no sensitive topic gave:
    /// by that people in danger are in order.
    pub(super) fn line(&self, floors: &Floors, total: i64, rest: i64) -> Option<Line> {
        let (name, place, evidence) = match &self.0 {
            Some((topic, floor)) => {
                let top = floors.above(*floor).map_or(PRIORITY_MAX, |next| next - 1);
                let place = i64::from(*floor) + squeezed(rest, top - floor);
                let evidence = format!("{topic} has {floor} to {top}: {rest:+} beside it says where");
                (Cow::Owned(format!("{FLOOR_OF}{topic}")), place, evidence)
            }
            None => {
                let next = floors.above(0)?;
                let knee = i64::from(next - SQUEEZED);
                if total <= knee {
                    return None;
                }
                let place = knee + squeezed(total - knee, SQUEEZED - 1);
                let evidence = format!(
                    "{total:+} in all: above {knee} it counts ever less; from {next} on there is danger"
                );
                (Cow::Borrowed(CEILING), place, evidence)
            }
        };
        // Lines are of at most 1000 points each, fewer than two million of them.
        let points = i32::try_from(place.saturating_sub(total)).unwrap_or(0);
        Some(Line { name, points, most: None, evidence })
    }
}

/// `0` for nothing, then more with every point, and never all of the room.
fn squeezed(points: i64, room: u16) -> i64 {
    let points = points.max(0);
    i64::from(room).saturating_mul(points) / points.saturating_add(HALF_AT)
}
