//! What is bought how often.

#![allow(clippy::float_arithmetic, reason = "chances, not amounts")]

use std::collections::HashMap;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::orders_file::Invoice;

/// Draws from `0..n` by weight, each draw in constant time (the alias method: M. D. Vose, "A Linear
/// Algorithm for Generating Random Numbers with a Given Distribution", IEEE TSE 17(9), 1991).
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    /// For each place: the chance of staying there, and where to go otherwise.
    places: Vec<(f64, usize)>,
}

impl Popularity {
    /// By weight; at least one weight must be above zero, or all count alike.
    pub(crate) fn by_weight(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let mean = sum / weights.len().max(1) as f64;
        let even = !(mean.is_finite() && mean > 0.0);
        let mut share: Vec<f64> =
            weights.iter().map(|weight| if even { 1.0 } else { weight / mean }).collect();
        let mut places: Vec<(f64, usize)> = (0..weights.len()).map(|place| (1.0, place)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|place| share[*place] < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            places[poor] = (share[poor], rich);
            share[rich] -= 1.0 - share[poor];
            if share[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { places }
    }

    /// The `k`-th most popular of `n` has weight `1 / k^exponent` (Zipf); an exponent of 0 is even.
    pub(crate) fn zipf(n: usize, exponent: f64) -> Self {
        let weights: Vec<f64> = (1..=n).map(|rank| (rank as f64).powf(-exponent)).collect();
        Self::by_weight(&weights)
    }

    /// As in real orders: by the number of orders that a product stands in, the most popular first.
    pub(crate) fn of_orders(invoices: &[Invoice]) -> Self {
        let mut lines: HashMap<&str, u32> = HashMap::new();
        for (sku, _) in invoices.iter().flat_map(|invoice| &invoice.lines) {
            *lines.entry(sku).or_default() += 1;
        }
        let mut weights: Vec<u32> = lines.into_values().collect();
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
        Self::by_weight(&weights)
    }

    /// Of how many.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Draws one; 0 where there is nothing to draw from.
    pub(crate) fn draw(&self, random: &mut SmallRng) -> usize {
        if self.places.len() < 2 {
            return 0;
        }
        let place = random.random_range(0..self.places.len());
        let (stays, other) = self.places[place];
        if random.random::<f64>() < stays { place } else { other }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const DRAWS: usize = 200_000;

    fn shares(popularity: &Popularity) -> Vec<f64> {
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0_u32; popularity.len()];
        (0..DRAWS).for_each(|_| counts[popularity.draw(&mut random)] += 1);
        counts.into_iter().map(|count| f64::from(count) / DRAWS as f64).collect()
    }

    fn agree(shares: &[f64], wanted: &[f64]) {
        let near = shares.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() < 0.01);
        assert!(near && shares.len() == wanted.len(), "{shares:?} {wanted:?}");
    }

    #[test]
    fn draws_follow_the_weights() {
        for weights in [&[1.0, 0.0, 3.0, 6.0][..], &[1.0], &[0.0, 2.0], &[5.0, 5.0, 5.0]] {
            let sum: f64 = weights.iter().sum();
            let wanted: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
            agree(&shares(&Popularity::by_weight(weights)), &wanted);
        }
        agree(&shares(&Popularity::by_weight(&[0.0, 0.0])), &[0.5, 0.5]);
    }

    #[test]
    fn zipf_gives_the_second_half_as_much_as_the_first() {
        let sum = 1.0 + 0.5 + 1.0 / 3.0;
        agree(&shares(&Popularity::zipf(3, 1.0)), &[1.0 / sum, 0.5 / sum, 1.0 / 3.0 / sum]);
        agree(&shares(&Popularity::zipf(4, 0.0)), &[0.25; 4]);
    }

    #[test]
    fn real_orders_count_each_product_once_an_order() {
        let invoice = |lines: &[(&str, i64)]| Invoice {
            number: String::new(),
            customer: String::new(),
            lines: lines.iter().map(|(sku, quantity)| ((*sku).to_owned(), *quantity)).collect(),
        };
        let popularity = Popularity::of_orders(&[
            invoice(&[("A", 100)]),
            invoice(&[("B", 1)]),
            invoice(&[("B", 1), ("C", 1)]),
        ]);
        agree(&shares(&popularity), &[0.5, 0.25, 0.25]);
    }
}
