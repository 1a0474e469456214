//! Histograms of times: eight buckets to each power of two, so that a bucket is at most an eighth wide.

/// Number of buckets: up to 2^40 ns, which is 18 minutes.
pub const BUCKETS: usize = 8 + 37 * 8;

/// The bucket of a time in nanoseconds; the last one takes everything that is longer.
#[inline(always)]
pub const fn bucket_of(nanoseconds: u64) -> usize {
    if nanoseconds < 8 {
        return nanoseconds as usize;
    }
    let exponent = floor_log2(nanoseconds);
    let bucket = (exponent as usize - 2) * 8 + ((nanoseconds >> (exponent - 3)) & 7) as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The longest time that falls into a bucket, in nanoseconds.
pub const fn upper_bound_of_bucket(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let exponent = bucket / 8 + 2;
    ((8 + bucket as u64 % 8 + 1) << (exponent - 3)) - 1
}

/// By halving: eBPF has no instruction that counts leading zeros.
#[inline(always)]
const fn floor_log2(number: u64) -> u32 {
    let mut rest = number;
    let mut log = 0;
    if rest >> 32 != 0 {
        rest >>= 32;
        log += 32;
    }
    if rest >> 16 != 0 {
        rest >>= 16;
        log += 16;
    }
    if rest >> 8 != 0 {
        rest >>= 8;
        log += 8;
    }
    if rest >> 4 != 0 {
        rest >>= 4;
        log += 4;
    }
    if rest >> 2 != 0 {
        rest >>= 2;
        log += 2;
    }
    if rest >> 1 != 0 { log + 1 } else { log }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket_of, upper_bound_of_bucket};

    #[test]
    fn buckets_follow_each_other_without_gap_and_are_an_eighth_wide() {
        for bucket in 0..BUCKETS - 1 {
            let upper = upper_bound_of_bucket(bucket);
            assert_eq!(bucket_of(upper), bucket, "upper end of bucket {bucket}");
            assert_eq!(bucket_of(upper + 1), bucket + 1, "lower end of bucket {}", bucket + 1);
            let lower = if bucket == 0 { 0 } else { upper_bound_of_bucket(bucket - 1) + 1 };
            assert!((upper - lower) * 8 <= lower.max(8), "bucket {bucket} is too wide");
        }
    }

    #[test]
    fn what_is_too_long_falls_into_the_last_bucket() {
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_bound_of_bucket(BUCKETS - 1), (1 << 40) - 1);
    }
}
