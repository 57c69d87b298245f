//! How points grow with a quantity: followers, hours, the company's money, a count.

/// A curve with a limit. It gives whole points, and none where the quantity is not above zero or no number, unless
/// its steps say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// How it grows.
    pub shape: Shape,
    /// It gives or takes no more than this.
    pub cap: i32,
}

/// How a curve grows.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// From each of these quantities on these points, in rising order; below the first none.
    Steps(Vec<(f64, i32)>),
    /// So many points a unit.
    Linear(f64),
    /// Points that grow with the logarithm of one more than the quantity.
    Logarithmic {
        /// Points at `at` and beyond.
        points: i32,
        /// Where the curve ends; at least 1.
        at: f64,
    },
}

impl Curve {
    /// The points of one step after another, without a further limit.
    pub fn steps(steps: &[(f64, i32)]) -> Curve {
        Curve { shape: Shape::Steps(steps.to_vec()), cap: i32::MAX }
    }

    /// So many points a unit, and no more than `cap`.
    pub fn linear(points_per_unit: f64, cap: i32) -> Curve {
        Curve { shape: Shape::Linear(points_per_unit), cap }
    }

    /// `points` at `at` and beyond, a third of them at the cube root.
    pub fn logarithmic(points: i32, at: f64) -> Curve {
        Curve { shape: Shape::Logarithmic { points, at }, cap: i32::MAX }
    }

    /// Points at this quantity.
    pub fn points(&self, quantity: f64) -> i32 {
        let points = match &self.shape {
            Shape::Steps(steps) => {
                let reached = steps.iter().take_while(|(at, _)| *at <= quantity).last();
                reached.map_or(0.0, |(_, points)| f64::from(*points))
            }
            // Not below zero, whatever the quantity; `max` takes the number where the other is none.
            Shape::Linear(per_unit) => (quantity.max(0.0) * per_unit).round(),
            Shape::Logarithmic { points, at } => {
                // log(1 + quantity): 0 at none, a third of the points at 100 of a million, all at a million.
                let share = (1.0 + quantity.max(0.0)).ln() / (1.0 + at).ln();
                (share.min(1.0) * f64::from(*points)).round()
            }
        };
        // Within an `i32` by the limit, which is one.
        let cap = f64::from(self.cap);
        points.clamp(-cap, cap) as i32
    }

    /// The points of greatest magnitude that it can give.
    pub fn most(&self) -> i32 {
        let most = match &self.shape {
            Shape::Steps(steps) => steps
                .iter()
                .map(|(_, points)| *points)
                .max_by_key(|points| points.unsigned_abs())
                .unwrap_or(0),
            Shape::Linear(per_unit) if *per_unit == 0.0 => 0,
            Shape::Linear(per_unit) if *per_unit < 0.0 => -self.cap,
            Shape::Linear(_) => self.cap,
            Shape::Logarithmic { points, .. } => *points,
        };
        most.clamp(-self.cap, self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(curve: &Curve, expected: &[(f64, i32)]) {
        for (quantity, points) in expected {
            assert_eq!(curve.points(*quantity), *points, "{curve:?} at {quantity}");
            assert!(points.unsigned_abs() <= curve.most().unsigned_abs(), "{curve:?} at {quantity}");
        }
    }

    #[test]
    fn steps_give_their_points_from_their_quantity_on() {
        let steps = Curve::steps(&[(1.0, 10), (5.0, 40), (20.0, 25)]);
        check(&steps, &[(0.0, 0), (0.99, 0), (1.0, 10), (4.9, 10), (5.0, 40), (19.0, 40), (1e12, 25)]);
        check(&Curve { cap: 30, ..steps }, &[(1.0, 10), (5.0, 30)]);
        check(&Curve::steps(&[(0.0, -7)]), &[(0.0, -7), (-1.0, 0), (f64::NAN, 0)]);
    }

    #[test]
    fn a_line_grows_to_its_limit_either_way() {
        check(
            &Curve::linear(25.0, 100),
            &[(0.0, 0), (2.0, 50), (2.5, 63), (4.0, 100), (1e300, 100), (-3.0, 0)],
        );
        check(&Curve::linear(-0.5, 30), &[(10.0, -5), (1_000.0, -30)]);
        check(&Curve::linear(0.0, 30), &[(10.0, 0)]);
        check(&Curve::linear(1.0, 30), &[(f64::NAN, 0), (f64::INFINITY, 30)]);
    }

    #[test]
    fn a_logarithm_ends_where_it_is_told() {
        let reach = Curve::logarithmic(150, 1_000_000.0);
        check(&reach, &[(0.0, 0), (999.0, 75), (1e6, 150), (1e18, 150), (f64::INFINITY, 150), (-5.0, 0)]);
        check(&Curve { cap: 60, ..reach }, &[(999.0, 60)]);
        check(&Curve::logarithmic(-90, 99.0), &[(9.0, -45), (99.0, -90)]);
        check(&Curve::logarithmic(-90, 99.0), &[(f64::NAN, 0)]);
    }
}
