#include "compiler/codegen/cuda/capture_order.h"

#include <algorithm>

namespace kroton::codegen {

void CaptureOrder::cut(DeviceAddress at) {
  auto piece = pieces_.upper_bound(at);
  if (piece == pieces_.begin()) return;
  --piece;
  if (piece->first == at || piece->second.end <= at) return;
  Piece behind = piece->second;
  piece->second.end = at;
  pieces_.emplace(at, std::move(behind));
}

template <class Action>
void CaptureOrder::for_each_piece(const Range& range, const Action& action) {
  if (range.begin >= range.end) return;
  cut(range.begin);
  cut(range.end);
  DeviceAddress at = range.begin;
  auto piece = pieces_.lower_bound(at);
  while (at < range.end) {
    if (piece == pieces_.end() || piece->first > at) {
      const DeviceAddress end =
          piece == pieces_.end() ? range.end : std::min(range.end, piece->first);
      piece = pieces_.emplace_hint(piece, at, Piece{end, {}, {}});
    }
    action(piece->second);
    at = piece->second.end;
    ++piece;
  }
}

std::vector<CaptureOrder::Place> CaptureOrder::before(std::span<const Range> ranges) {
  std::vector<Place> places;
  for (const Range& range : ranges) {
    for_each_piece(range, [&](const Piece& piece) {
      places.insert(places.end(), piece.written.begin(), piece.written.end());
      if (range.writes) {
        places.insert(places.end(), piece.read.begin(), piece.read.end());
      } else if (piece.read.size() >= most_readers) {
        places.push_back(piece.read.front());
      }
    });
  }
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
  return places;
}

void CaptureOrder::add(std::span<const Range> ranges, std::span<const Place> places) {
  for (const bool writes : {false, true}) {  // what is both read and written is written
    for (const Range& range : ranges) {
      if (range.writes != writes) continue;
      for_each_piece(range, [&](Piece& piece) {
        if (writes) {
          piece.written.assign(places.begin(), places.end());
          piece.read.clear();
          return;
        }
        if (piece.read.size() >= most_readers) piece.read.erase(piece.read.begin());
        piece.read.insert(piece.read.end(), places.begin(), places.end());
      });
    }
    if (!writes) continue;
    // One piece for what was written as a whole.
    for (const Range& range : ranges) {
      if (!range.writes || range.begin >= range.end) continue;
      cut(range.begin);
      cut(range.end);
      const auto first = pieces_.lower_bound(range.begin);
      pieces_.erase(std::next(first), pieces_.lower_bound(range.end));
      first->second.end = range.end;
    }
  }
}

}  // namespace kroton::codegen
