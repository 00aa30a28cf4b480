//! Reads a gateway's metrics, as Prometheus would.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// All metrics of the gateway whose operations are at this address.
pub async fn metrics(operations: SocketAddr) -> Result<Metrics> {
    let mut line = TcpStream::connect(operations).await?;
    line.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut said = Vec::new();
    line.read_to_end(&mut said).await?;
    let said = String::from_utf8_lossy(&said);
    let (_, body) = said.split_once("\r\n\r\n").context("no metrics")?;
    Ok(Metrics(body.to_owned()))
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Metrics(String);

impl Metrics {
    /// The sum of all series of this name that have all of these labels, each as `name="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.series(name)
            .filter(|(with, _)| labels.iter().all(|label| with.contains(label)))
            .map(|one| one.1)
            .sum()
    }

    /// The values that a label has among the series of this name.
    pub fn values(&self, name: &str, label: &str) -> Vec<String> {
        let opens = format!("{label}=\"");
        let value = |with: &str| Some(with.split_once(&opens)?.1.split_once('"')?.0.to_owned());
        let mut values: Vec<_> = self.series(name).filter_map(|(with, _)| value(with)).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Labels and value of each.
    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some(())?;
            Some((labels, value.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_their_labels() {
        let metrics = Metrics(
            "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\",y=\"2\"} 4\na_total_more 9\nb 1\n"
                .into(),
        );
        assert!((metrics.sum("a_total", &[]) - 7.0).abs() < 1e-9);
        assert!((metrics.sum("a_total", &["x=\"1\"", "y=\"2\""]) - 3.0).abs() < 1e-9);
        assert!((metrics.sum("b", &[]) - 1.0).abs() < 1e-9);
        assert_eq!(metrics.values("a_total", "x"), ["1", "2"]);
    }
}
