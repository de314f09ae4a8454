//! The exact sum of floating-point numbers, rounded once: the same in whatever order they come, as `fsum` of Python.

/// A sum as numbers that do not overlap, smallest first (Shewchuk, "Adaptive Precision Floating-Point Arithmetic").
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    parts: Vec<f64>,
}

impl ExactSum {
    /// Adds a number.
    pub(super) fn add(&mut self, number: f64) {
        let mut carried = number;
        let mut kept = 0;
        for index in 0..self.parts.len() {
            let Some(&part) = self.parts.get(index) else {
                break;
            };
            let (large, small) = if carried.abs() < part.abs() {
                (part, carried)
            } else {
                (carried, part)
            };
            let sum = large + small;
            let rest = small - (sum - large);
            if rest != 0.0 {
                if let Some(place) = self.parts.get_mut(kept) {
                    *place = rest;
                }
                kept += 1;
            }
            carried = sum;
        }
        self.parts.truncate(kept);
        self.parts.push(carried);
    }

    /// The sum, rounded to the nearest number, to the even one of two that are equally near.
    pub(super) fn get(&self) -> f64 {
        let mut parts = self.parts.iter().rev().copied();
        let mut sum = parts.next().unwrap_or(0.0);
        let mut rest = 0.0;
        for part in parts.by_ref() {
            let before = sum;
            sum = before + part;
            rest = part - (sum - before);
            if rest != 0.0 {
                break;
            }
        }
        // Half a unit was rounded away, and what is smaller still says into which direction it should be.
        if let Some(smaller) = parts.next()
            && rest != 0.0
            && (rest < 0.0) == (smaller < 0.0)
        {
            let twice = rest * 2.0;
            let other = sum + twice;
            if twice == other - sum {
                return other;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(numbers: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|number| sum.add(*number));
        sum.get()
    }

    #[test]
    fn nothing_is_lost_whatever_the_order() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[1e16, 1.0, 1e-16]), 10_000_000_000_000_002.0);
        assert_eq!(sum(&[1e16, 1.0, -1e-16]), 1e16);
    }

    #[test]
    fn the_order_changes_nothing() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut numbers: Vec<f64> = (0..1_000)
            .map(|_| (random.f64() - 0.5) * 10_f64.powi(random.i32(-20..20)))
            .collect();
        let first = sum(&numbers);
        for _ in 0..20 {
            random.shuffle(&mut numbers);
            assert_eq!(sum(&numbers), first);
        }
    }
}
