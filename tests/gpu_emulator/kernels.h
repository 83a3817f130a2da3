// CUDA C++ compiled for the CPU, behind the text of shim/cuda.h, by the system's C++ compiler.
// Depends on nothing of Kroton's: the driver of the tests runs kernels by it too.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gpu_emulator {

// Bytes of the log that the shim keeps for one byte of global memory (sizeof(emulator::Log),
// checked when a source is compiled).
constexpr std::size_t log_bytes = 56;

// One argument of a launch.
struct Argument {
  std::uint64_t value = 0;  // an address or a number
  std::int64_t bytes = -1;  // of the memory behind an address; -1: a number
  void* shadow = nullptr;   // log_bytes for each of these bytes
};

// What the shim takes for one launch; laid out alike there.
struct Launch {
  std::int64_t number;
  std::int64_t blocks;
  std::int64_t threads;
  std::int64_t argument_count;
  const std::uint64_t* values;
  const std::int64_t* bytes;
  void* const* shadows;
  char* message;
  std::int64_t message_size;
  void (*touch)(void*, std::int64_t, int, bool, unsigned, std::uint64_t, int);
  void* environment;
  void (*end_block)(void*);
  std::int64_t together;  // 1: all blocks run at once, and may wait for each other
};

// Who is told of every access to memory while it is installed, until the end of its life; one at a
// time.
class Watcher {
 public:
  Watcher();
  virtual ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  virtual void begin_kernel(const std::string& name, std::int64_t blocks, std::int64_t threads) = 0;
  // `array`: the number of the argument, or minus the line of a shared array; `line`: of the
  // access.
  virtual void touch(std::int64_t array, int line, bool writes, unsigned thread,
                     std::uint64_t place, int bytes) = 0;
  virtual void end_block() = 0;
};

struct Kernel {
  std::string name;
  // Per parameter: what a pointer is aligned to, or minus the size of a number.
  std::vector<std::int64_t> parameters;
  int (*entry)(const Launch*) = nullptr;
};

using Kernels = std::map<std::string, Kernel>;

// The kernels of a source; one compiled before is not compiled again, and loaded code stays. `name`
// is that of the source in messages. std::runtime_error with the compiler's output if it does not
// compile.
Kernels& compiled(const std::string& source, const std::string& name);

// Blocks that are on the emulated device at once.
constexpr std::int64_t blocks_at_once = 12;

// Runs all threads of a launch. `together`: blocks may wait for each other. What went wrong, or
// nothing.
std::string run(const Kernel& kernel, std::int64_t blocks, std::int64_t threads,
                const std::vector<Argument>& arguments, bool together = false);

// Runs of the compiler so far in this process.
int compilations();

}  // namespace gpu_emulator
