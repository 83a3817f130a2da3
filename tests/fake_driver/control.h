// What a test may ask of the driver that it runs on. The driver is a libcuda.so.1 of our own that
// needs no device: it keeps a driver's contract and holds its caller to it, delays all work to the
// moment when somebody waits for it, and runs kernels in the emulator.
//
// KROTON_FAKE_DRIVER in the environment describes the machine, as "key=value key=value":
//   devices=1        how many
//   version=13000    of the driver: 1000 times the major version and 10 times the minor
//   capability=90    of the devices
//   memory_clock=1000000   of the devices, kHz; 0: they do not tell
//   order=lazy       of streams, when one is waited for: what it waits for only; eager: all others
//                    first, the newest of them before the rest
//   together=1       0: blocks cannot wait for each other
//   code=own         any: code for devices loads too, and its kernels do nothing
//   cublaslt=on      off: does not start; refuses, none: has no algorithm; late: refuses the
//   product
//   cudnn=off        on: is there; refuses: takes no convolution; none: has no engine; fallback:
//   has
//                    one in its fallback mode only; late: refuses when it is to run; broken: fails
//   nccl=on          off: does not join devices
//   nccl_version=22203
//   patience=20000   milliseconds that one waits for what another thread has to start
//   peers=on         off: devices have no way to each other's memory but by the host's
// KROTON_FAKE_SOURCES=FOLDER: NVRTC leaves all texts there, each behind its name, and makes no
// code.
#pragma once
#include <string>
#include <vector>

namespace fake_driver {

struct Control {
  // What the caller has done against the contract so far, one a line; forgotten afterwards.
  std::string (*violations)();
  // The n-th call of that function from now on returns `code` and does nothing. 1: the next.
  void (*fail_call)(const std::string& function, int n, int code);
  // The n-th kernel that runs from now on fails, and with it its context for good.
  void (*fail_kernel)(int n, int code);
  // Calls of a function so far, those that failed included.
  int (*calls)(const std::string& function);
  int (*kernels)();       // run so far, those of graphs included
  int (*products)();      // run so far by cuBLASLt
  int (*convolutions)();  // run so far by cuDNN
  int (*algorithm)();     // of the last that a library ran, as it named them
  int (*allocations)();   // alive on all devices
  // What events are apart from now on, in milliseconds; behind these the time that it takes.
  void (*times)(const std::vector<float>& milliseconds);
  // Of the last graph made or updated: how many nodes come one behind the other.
  int (*graph_depth)();
};

}  // namespace fake_driver

// Found in the library by this name.
extern "C" const fake_driver::Control* fake_driver_control();
