#pragma once

#include "bench.h"

namespace bench {

// "floor/f32" and "floor/f64" (peak multiply-adds), "floor/triad" (bandwidth; "floor/triad/BYTES"
// that of whatever cache holds so many), "floor/add" (latency of an addition). The only value is
// the work of one run: FLOPs, bytes, additions.
Case floor_case(const Parts& parts);

}  // namespace bench
