//! How often one address may ask.

use super::options::ApiOptions;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

/// Requests a minute without the right token that one address is told 401 for; then it is 429.
const REFUSALS_PER_MINUTE: u32 = 20;
/// How often addresses that are quiet again are forgotten.
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(10);

type Limiter = Option<DefaultKeyedRateLimiter<IpAddr>>;

/// Both limits.
pub(super) struct Limits {
    requests: Limiter,
    refusals: Limiter,
    clock: DefaultClock,
}

impl Limits {
    pub(super) fn new(options: &ApiOptions) -> Limits {
        let limiter = |quota: fn(NonZeroU32) -> Quota, number| {
            NonZeroU32::new(number).map(|number| RateLimiter::keyed(quota(number)))
        };
        Limits {
            requests: limiter(Quota::per_second, options.rate_per_second),
            refusals: limiter(Quota::per_minute, REFUSALS_PER_MINUTE),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request; else the seconds to wait.
    pub(super) fn request(&self, client: IpAddr) -> Result<(), u64> {
        self.check(&self.requests, client)
    }

    /// Counts a request without the right token; else the seconds to wait.
    pub(super) fn refusal(&self, client: IpAddr) -> Result<(), u64> {
        self.check(&self.refusals, client)
    }

    fn check(&self, limiter: &Limiter, client: IpAddr) -> Result<(), u64> {
        let Some(limiter) = limiter else { return Ok(()) };
        limiter.check_key(&network(client)).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            wait.as_secs().saturating_add(1)
        })
    }

    /// Forgets addresses that are quiet again, so that memory follows the rate and not the time.
    pub(super) fn forget_quiet(&self) {
        for limiter in [&self.requests, &self.refusals].into_iter().flatten() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

/// One customer has a whole /64 of IPv6.
pub(super) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_count_together() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
    }
}
