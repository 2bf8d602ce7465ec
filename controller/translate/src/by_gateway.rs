//! What an object has for each Gateway: nearly always for one, of which a tree would keep room for eleven.

use std::fmt;

use portcullis_ir::GatewayKey;

/// In order of key.
#[derive(PartialEq)]
pub(crate) struct ByGateway<T>(Box<[(GatewayKey, T)]>);

impl<T> ByGateway<T> {
    pub(crate) fn get(&self, gateway: &GatewayKey) -> Option<&T> {
        let at = self.0.binary_search_by(|(key, _)| key.cmp(gateway)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &GatewayKey> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&GatewayKey, &T)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<T> FromIterator<(GatewayKey, T)> for ByGateway<T> {
    fn from_iter<I: IntoIterator<Item = (GatewayKey, T)>>(items: I) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(items.into_boxed_slice())
    }
}

impl<T> Default for ByGateway<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for ByGateway<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gateway_has_its_own_whatever_the_order_they_came_in() {
        let [first, second, third] = ["a", "b", "c"].map(|name| GatewayKey::new("ns", name));
        let all: ByGateway<u8> = [(second.clone(), 2), (first.clone(), 1)].into_iter().collect();
        assert_eq!([&first, &second, &third].map(|key| all.get(key).copied()), [Some(1), Some(2), None]);
        assert_eq!(all.keys().collect::<Vec<_>>(), [&first, &second]);
    }
}
