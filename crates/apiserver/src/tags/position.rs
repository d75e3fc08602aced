//! `resourceVersion`: where in time something is.
//!
//! A number of microseconds since 1970, ten bits of origin and one bit that tells the two kinds apart:
//! * the version of an object, made of the time of its push and of its digest: the same on every replica, and after restarts;
//! * a position in the changes that one process has seen ([`content::Changes`]), exact there and approximate elsewhere.

use std::fmt;
use std::time::{Duration, SystemTime};

use oci::Digest;

const ORIGIN_BITS: u32 = 10;
const TIME_SHIFT: u32 = ORIGIN_BITS + 1;
/// The year 2112, and still a positive number to those who take it for a signed one.
const MICROS_MAX: u64 = (1 << 52) - 1;
/// By so many microseconds the clocks of processes may differ, and what one has done reach another late.
const MARGIN: u64 = 10_000_000;
/// By so much an event may be later than the change that it tells of; the rest of the margin is for clocks.
const LATE_MAX: u64 = 2_000_000;

/// Which process a position is of. Two processes have the same one in one of 1,024 cases, and take each other's positions for
/// exact: a change of the last moments that one has not heard of yet may then be missed. There is no room for more bits in a
/// number that is positive, grows with time to the microsecond, and tells apart what was pushed within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin(u16);

impl Origin {
    /// Only the lowest bits count.
    pub(crate) fn new(random: u16) -> Self {
        Self(random & ((1 << ORIGIN_BITS) - 1))
    }
}

/// A `resourceVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64);

impl Version {
    /// Of an object.
    pub(crate) fn of_object(pushed: SystemTime, digest: &Digest) -> Self {
        let bytes = digest.as_bytes();
        // The digest is as good as random in any of its bits.
        let origin = bytes.first_chunk::<2>().map_or(0, |pair| Origin::new(u16::from_be_bytes(*pair)).0);
        Self::pack(micros(pushed), origin, 0)
    }

    /// Of the moment `at` in the changes of a process.
    pub(crate) fn of_change(at: u64, origin: Origin) -> Self {
        Self::pack(at, origin.0, 1)
    }

    /// Of a moment by the clock, as any process sees it.
    pub(crate) fn of_now(micros: u64) -> Self {
        Self::pack(micros, 0, 0)
    }

    /// The version to tell of an object in an event about the change at `at`. What storage has now may have been pushed long
    /// after that change, and a client that goes on from there would miss the changes between.
    pub(crate) fn told_at(self, at: u64, origin: Origin) -> Self {
        if self.micros() > at.saturating_add(LATE_MAX) { Self::of_change(at, origin) } else { self }
    }

    /// The position to go on from: one of our own is exact, anything else is a time by somebody's clock.
    pub(crate) fn resumed(self, origin: Origin) -> u64 {
        self.of(origin).unwrap_or_else(|| self.micros().saturating_sub(MARGIN))
    }

    /// Nobody has given it out yet: it is later than `here` by more than clocks may differ.
    pub(crate) fn is_to_come(self, here: u64) -> bool {
        self.micros() > here.saturating_add(MARGIN)
    }

    fn pack(micros: u64, origin: u16, kind: u64) -> Self {
        // Zero would mean "any" to clients.
        Self((micros.clamp(1, MICROS_MAX) << TIME_SHIFT) | (u64::from(origin) << 1) | kind)
    }

    /// Reads the decimal number; zero is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number > 0).map(Self)
    }

    /// The number itself, for tokens.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Microseconds since 1970.
    pub(crate) fn micros(self) -> u64 {
        self.0 >> TIME_SHIFT
    }

    /// The moment in the changes of the process of this origin, if it is one.
    pub(crate) fn of(self, origin: Origin) -> Option<u64> {
        (self.0 & ((1 << TIME_SHIFT) - 1) == (u64::from(origin.0) << 1) | 1).then(|| self.micros())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// Microseconds since 1970, zero for what was before.
pub(crate) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for bad in ["", "0", "-1", "+1", " 1", "1.0", "x", "18446744073709551616", "١"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert_eq!(Version::parse("18446744073709551615").map(Version::number), Some(u64::MAX));
    }

    #[test]
    fn strange_times_are_times_too() {
        let digest = Digest::sha256(b"x");
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(Version::of_object(long_ago, &digest).micros(), 1);
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(Version::of_object(far, &digest).micros(), MICROS_MAX);
        assert!(i64::try_from(Version::of_object(far, &digest).number()).is_ok());
    }

    #[test]
    fn what_another_clock_gives_out_is_not_to_come() {
        let here = 1_000_000_000;
        for (micros, expected) in [(1, false), (here, false), (here + MARGIN, false), (here + MARGIN + 1, true)] {
            assert_eq!(Version::of_now(micros).is_to_come(here), expected, "{micros}");
            assert_eq!(Version::of_change(micros, Origin::new(7)).is_to_come(here), expected, "{micros}");
        }
        assert!(Version::from(u64::MAX).is_to_come(here));
        assert!(!Version::from(u64::MAX).is_to_come(u64::MAX));
    }

    proptest! {
        #[test]
        fn positions_come_back(at in 1..MICROS_MAX, mine in any::<u16>(), other in any::<u16>()) {
            let (mine, other) = (Origin::new(mine), Origin::new(other));
            let version = Version::parse(&Version::of_change(at, mine).to_string()).unwrap();
            prop_assert_eq!(version.micros(), at);
            prop_assert_eq!(version.of(mine), Some(at));
            prop_assert_eq!(version.of(other), (mine == other).then_some(at));
        }

        #[test]
        fn objects_are_never_positions(at in 1..MICROS_MAX, content in any::<[u8; 4]>(), origin in any::<u16>()) {
            let pushed = SystemTime::UNIX_EPOCH + Duration::from_micros(at);
            let version = Version::of_object(pushed, &Digest::sha256(&content));
            prop_assert_eq!(version.micros(), at);
            prop_assert_eq!(version.of(Origin::new(origin)), None);
        }

        /// Who goes on from an event meets every change behind the one that it told of.
        #[test]
        fn events_lose_nothing(at in 1..MICROS_MAX - 1, late in 0..100_000_000u64, early: bool, origins in any::<[u16; 2]>()) {
            let [mine, other] = origins.map(Origin::new);
            let pushed = if early { at.saturating_sub(late) } else { at + late };
            let object = Version::of_object(SystemTime::UNIX_EPOCH + Duration::from_micros(pushed), &Digest::sha256(b"x"));
            let told = object.told_at(at, mine);
            prop_assert!(told.resumed(mine) <= at);
            prop_assert!(told.resumed(other) <= at);
            prop_assert!(told == object || late > LATE_MAX);
        }

        #[test]
        fn later_is_larger(at in 1..MICROS_MAX - 1, origins in any::<[u16; 2]>()) {
            let [one, two] = origins.map(Origin::new);
            prop_assert!(Version::of_change(at, one) < Version::of_change(at + 1, two));
        }
    }
}
