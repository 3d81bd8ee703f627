//! A file of rows: a header line, then cells between separators.
//!
//! Every complaint names file, line, column and value, because whoever reads it has the file and not this code.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// A file of an instance or of a solution that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("{}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} line {line}, column {column}: {value:?} is not {expected}", path.display())]
    Cell {
        path: PathBuf,
        line: usize,
        column: usize,
        value: String,
        expected: String,
    },
    #[error("{}: no row below the header", path.display())]
    Empty { path: PathBuf },
}

/// A file's rows below its header.
pub struct Table {
    path: PathBuf,
    rows: Vec<Row>,
}

/// A line, and where it stands.
pub struct Row {
    path: PathBuf,
    line: usize,
    cells: Vec<String>,
}

impl Table {
    /// Reads `dir/file`. The header must begin with `first_column`: a file without one would lose its first row.
    pub fn read(
        dir: &Path,
        file: &str,
        separator: char,
        first_column: &str,
    ) -> Result<Table, FileError> {
        let path = dir.join(file);
        let text = fs::read_to_string(&path).map_err(|source| FileError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let row = |(index, line): (usize, &str)| Row {
            path: path.clone(),
            line: index + 1,
            cells: line
                .trim_end_matches('\r')
                .split(separator)
                .map(|cell| cell.trim().to_owned())
                .collect(),
        };
        let mut rows = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(row);
        let Some(header) = rows.next() else {
            return Err(FileError::Empty { path });
        };
        if header.text(0)? != first_column {
            return Err(header.wrong(0, &format!("the header's first column, {first_column:?}")));
        }
        let rows = rows.collect();
        Ok(Table { path, rows })
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The first row, where there must be one.
    pub fn first(&self) -> Result<&Row, FileError> {
        self.rows.first().ok_or_else(|| FileError::Empty {
            path: self.path.clone(),
        })
    }
}

impl Row {
    /// A cell that is not empty; columns count from 0.
    pub fn text(&self, column: usize) -> Result<&str, FileError> {
        match self.cells.get(column) {
            Some(cell) if !cell.is_empty() => Ok(cell),
            _ => Err(self.wrong(column, "a value")),
        }
    }

    /// How many cells it has.
    pub fn width(&self) -> usize {
        self.cells.len()
    }

    /// A finite number.
    pub fn number(&self, column: usize) -> Result<f64, FileError> {
        match f64::from_str(self.text(column)?) {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.wrong(column, "a number")),
        }
    }

    /// A number for which `holds`, or it is not `expected`.
    pub fn number_that(
        &self,
        column: usize,
        expected: &str,
        holds: impl Fn(f64) -> bool,
    ) -> Result<f64, FileError> {
        let number = self.number(column)?;
        if holds(number) {
            Ok(number)
        } else {
            Err(self.wrong(column, expected))
        }
    }

    pub fn wrong(&self, column: usize, expected: &str) -> FileError {
        FileError::Cell {
            path: self.path.clone(),
            line: self.line,
            column: column + 1,
            value: self.cells.get(column).cloned().unwrap_or_default(),
            expected: expected.to_owned(),
        }
    }
}
