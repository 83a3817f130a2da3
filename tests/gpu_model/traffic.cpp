#include "tests/gpu_model/traffic.h"

#include <algorithm>
#include <iomanip>
#include <set>
#include <sstream>

namespace gpu_model {
namespace {

constexpr int lanes_of_warp = 32;
constexpr int sector = 32;  // bytes
constexpr int bank = 4;     // bytes
constexpr int banks = 32;

}  // namespace

void Traffic::begin_kernel(const std::string& name, std::int64_t blocks, std::int64_t threads) {
  kernels_.push_back({name, blocks, threads, {}, {}, {}, {}});
}

void Traffic::touch(std::int64_t array, int line, bool writes, unsigned thread, std::uint64_t place,
                    int bytes) {
  Lanes& lanes = block_[{array, line, writes, thread / lanes_of_warp}];
  lanes.resize(lanes_of_warp);
  lanes[thread % lanes_of_warp].push_back({place, bytes});
}

void Traffic::end_block() {
  KernelTraffic& kernel = kernels_.back();
  for (const auto& [key, lanes] : block_) {
    const auto& [array, line, writes, warp] = key;
    const bool shared = array < 0;
    count(lanes, shared,
          shared ? (writes ? kernel.shared_stores : kernel.shared_loads)
                 : (writes ? kernel.stores : kernel.loads));
  }
  block_.clear();
}

void Traffic::count(const Lanes& lanes, bool shared, Requests& into) {
  std::size_t longest = 0;
  for (const auto& lane : lanes) longest = std::max(longest, lane.size());
  for (std::size_t n = 0; n < longest; ++n) {
    std::set<std::uint64_t> units;  // sectors, or words
    std::int64_t bytes = 0;
    std::set<std::uint64_t> places;
    ++into.requests;
    for (const auto& lane : lanes) {
      if (n >= lane.size()) continue;
      ++into.lanes;
      const Access& access = lane[n];
      if (places.insert(access.place).second) bytes += access.bytes;
      const int unit = shared ? bank : sector;
      for (std::uint64_t at = access.place / unit; at * unit < access.place + access.bytes; ++at) {
        units.insert(at);
      }
    }
    if (!shared) {
      into.units += static_cast<std::int64_t>(units.size());
      into.ideal += (bytes + sector - 1) / sector;
      continue;
    }
    std::int64_t of_bank[banks] = {};
    for (const std::uint64_t word : units) ++of_bank[word % banks];
    into.units += *std::max_element(of_bank, of_bank + banks);
    into.ideal += (static_cast<std::int64_t>(units.size()) + banks - 1) / banks;
  }
}

std::string to_string(const std::vector<KernelTraffic>& kernels) {
  std::string text, before;
  for (const KernelTraffic& kernel : kernels) {
    std::ostringstream line;
    line << std::left << std::setw(40) << "  " + kernel.name.substr(0, 37) << std::right
         << std::setw(6) << kernel.blocks << " x" << std::setw(5) << kernel.threads << std::fixed
         << std::setprecision(1);
    const auto add = [&](const char* what, const Requests& r) {
      if (r.requests == 0) return;
      line << "  " << what << ' ' << static_cast<double>(r.units) / r.requests << '/'
           << static_cast<double>(r.ideal) / r.requests << " of "
           << static_cast<double>(r.lanes) / r.requests;
    };
    add("loads", kernel.loads);
    add("stores", kernel.stores);
    add("shared loads", kernel.shared_loads);
    add("shared stores", kernel.shared_stores);
    line << "\n";
    if (line.str() != before) text += line.str();
    before = line.str();
  }
  return text;
}

}  // namespace gpu_model
