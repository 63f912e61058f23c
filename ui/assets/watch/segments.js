// The segments of one track, in arrays that can be searched by time.

// Segments in the order of their starts. They may overlap, last for hours, or end before they begin.
export class Segments {
  constructor(rows = []) {
    this.rows = rows;
    this.starts = new Float64Array(rows.length);
    this.ends = new Float64Array(rows.length);
    // The latest end up to each row: before the first row whose value is later than a time, no row lasts until then.
    this.latestEnds = new Float64Array(rows.length);
    let latest = -Infinity;
    rows.forEach((row, index) => {
      this.starts[index] = row.start_s;
      this.ends[index] = Math.max(row.start_s, row.end_s);
      latest = Math.max(latest, this.ends[index]);
      this.latestEnds[index] = latest;
    });
  }

  get length() {
    return this.rows.length;
  }

  // Return the number of rows that start at or before a time.
  countBefore(seconds) {
    return firstAbove(this.starts, seconds);
  }

  // Return the index of the row that began last and still lasts at a time, the first of several; -1 if there is none.
  at(seconds) {
    let found = -1;
    for (let index = this.countBefore(seconds) - 1; index >= 0 && this.latestEnds[index] > seconds; index--) {
      if (found >= 0 && this.starts[index] < this.starts[found]) break;
      if (this.ends[index] > seconds) found = index;
    }
    return found;
  }

  // Return the index of the row at a time, else of the last one before it; -1 before the first.
  near(seconds) {
    const index = this.at(seconds);
    return index < 0 ? this.countBefore(seconds) - 1 : index;
  }

  // Return the first row that may overlap what begins at a time.
  firstOverlapping(seconds) {
    return firstAbove(this.latestEnds, seconds);
  }

  // Return the start of the next row after a time, or of the previous one before it (`direction` -1); null if there is none.
  nextStart(seconds, direction) {
    const near = 0.05;
    if (direction > 0) return this.starts[firstAbove(this.starts, seconds + near)] ?? null;
    return this.starts[firstAbove(this.starts, seconds - near) - 1] ?? null;
  }
}

// Return the index of the first value of a sorted array that is above a bound.
function firstAbove(values, bound) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
