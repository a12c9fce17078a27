//! Counts of microseconds in buckets 1/64 of their value wide: percentiles within 1.6 %.

const BITS: u32 = 6;
const PER_DOUBLING: usize = 1 << BITS;
const BUCKETS: usize = PER_DOUBLING * 40;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            buckets: vec![0; BUCKETS],
            count: 0,
        }
    }

    pub fn add(&mut self, us: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(us)) {
            *bucket += 1;
        }
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    /// The value in ms that `share` (0 to 1) of all values do not exceed; None where there are no values.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_bound(bucket) as f64 / 1000.0)
    }
}

fn bucket_of(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(BITS + 1);
    shift as usize * PER_DOUBLING + (us >> shift) as usize
}

fn upper_bound(bucket: usize) -> u64 {
    let shift = (bucket / PER_DOUBLING).saturating_sub(1);
    ((bucket - shift * PER_DOUBLING + 1) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_just_under_its_bucket_s_bound() {
        for us in (0..100_000).chain([1_000_000, 123_456_789]) {
            let bound = upper_bound(bucket_of(us));
            assert!(
                bound > us && bound as f64 <= us as f64 * (1.0 + 1.0 / 64.0) + 1.0,
                "{us} {bound}"
            );
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile_ms(0.5), None);
        (1..=100).for_each(|n| histogram.add(n * 1000));
        let median = histogram.percentile_ms(0.5).unwrap_or_default();
        assert!((50.0..51.0).contains(&median), "{median}");
    }
}
