// What schedules know of the machine that a Program is for: numbers of the hardware, each once.
// What a schedule makes of them stands with the schedule.
#pragma once
#include <cstdint>

namespace kroton {

struct Machine {
  bool gpu = false;  // kernels are scheduled for blocks of threads
  // Of a GPU: scans with small steps are one kernel.
  bool persistent_scans = true;
  // Of a GPU: kernels are parts of a larger one that a single block runs.
  bool one_block = false;
  // Of a GPU: the same, of one whose blocks are all there at once and wait for each other.
  bool waiting_blocks = false;
  // Of a GPU: the most elements of rows whose length is not known; 0: there may be any number.
  std::int64_t longest_row = 0;
  static constexpr std::int64_t warp_row = 512;    // elements that are one warp's
  static constexpr std::int64_t block_row = 4096;  // that fit in the registers of a block

  // A CPU core.
  int vector_bytes = 16;  // of the widest vector register to use
  int vector_registers = 16;
  bool fused_multiply_add = false;  // as one instruction, whose product needs no register
  bool masks = false;               // part of a vector is loaded or stored by one instruction
  bool converts_f16 = false;        // by an instruction, to f32 and back
  int cache_ways = 8;               // lines of the first cache that may share a set
  // Which is as large as can be found by the part of an address that is the same on every page.
  std::int64_t first_cache() const { return cache_ways * page_bytes; }
  static constexpr std::int64_t cache_line = 64;  // bytes
  std::int64_t second_cache = 1 << 20;            // bytes
  std::int64_t second_cache_ways = 8;
  std::int64_t mapped_bytes = 8 << 20;  // whose pages' addresses the core keeps at hand
  std::int64_t mapped_at_once = 512;    // pages whose addresses cost it little, one after another
  std::int64_t page_bytes = 4096;

  // A GPU.
  static constexpr int warp = 32;  // threads that run in step
  int capability = 80;             // of CUDA: 75, 80, 90
  // Products of f32 may be of operands rounded to 11 bits.
  bool tf32 = false;
  // Products of 16 bits and of TF32 by warps together, copies to shared memory that nobody waits
  // for before they are needed.
  bool has_matrix_units() const { return gpu && capability >= 80; }
  // Shared memory of a block that leaves room for several blocks on a processor.
  std::int64_t block_shared_bytes = 16 << 10;
};

inline Machine x86_machine(int vector_bytes) {
  Machine machine;
  machine.vector_bytes = vector_bytes;
  machine.vector_registers = vector_bytes == 64 ? 32 : 16;
  machine.fused_multiply_add = vector_bytes >= 32;
  machine.masks = vector_bytes == 64;
  machine.converts_f16 = vector_bytes >= 32;
  return machine;
}

// With NEON.
inline Machine arm_machine() {
  Machine machine;
  machine.vector_registers = 32;
  machine.fused_multiply_add = true;
  machine.converts_f16 = true;
  return machine;
}

inline Machine gpu_machine(int capability = 80, bool tf32 = false) {
  Machine machine;
  machine.gpu = true;
  machine.capability = capability;
  machine.tf32 = tf32;
  return machine;
}

}  // namespace kroton
