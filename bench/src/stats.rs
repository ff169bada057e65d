//! Medians and percentiles.

use std::time::Duration;

use serde::Serialize;

/// Latencies of one round in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
}

impl Percentiles {
    pub fn of(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        let last = latencies.len().checked_sub(1)?;
        // Nearest rank: the value that at least this share of the requests did not exceed.
        let at = |share: f64| {
            let rank = (latencies.len() as f64 * share).ceil() as usize;
            latencies[rank.saturating_sub(1).min(last)].as_secs_f64() * 1e3
        };
        Some(Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: at(1.0),
        })
    }
}

/// The middle value; the mean of the two middle ones for an even count; 0 of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![3.0], 3.0),
            (vec![5.0, 1.0, 3.0], 3.0),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5),
        ] {
            assert!(
                (median(values.clone()) - expected).abs() < 1e-9,
                "{values:?}"
            );
        }
    }

    #[test]
    fn percentiles_by_nearest_rank() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(
            Percentiles::of(latencies),
            Some(Percentiles {
                p50: 50.0,
                p90: 90.0,
                p99: 99.0,
                max: 100.0
            })
        );
        assert_eq!(Percentiles::of(Vec::new()), None);
        let one = Percentiles::of(vec![Duration::from_millis(7)]);
        assert_eq!(
            one,
            Some(Percentiles {
                p50: 7.0,
                p90: 7.0,
                p99: 7.0,
                max: 7.0
            })
        );
    }
}
