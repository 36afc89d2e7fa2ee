// A device for PyTorch that computes on the host: a type of its own, kernels of the CPU, one stream.
// It refuses to mix devices and reports every operation for which a GPU's host would have to wait.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>
#include <torch/library.h>

#include <set>

namespace {

using at::Tensor;
using c10::IntArrayRef;
using std::optional;

constexpr auto TYPE = c10::DeviceType::PrivateUse1;
constexpr c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

// ---- memory, guard and hooks: what PyTorch asks of a device

struct HostAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void* memory = nullptr;
    TORCH_CHECK(!size || !posix_memalign(&memory, 64, size), "out of memory");
    return {memory, memory, &free, c10::Device(TYPE, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free; }
  void copy_data(void* to, const void* from, size_t size) const override { memcpy(to, from, size); }
};
HostAllocator allocator;
REGISTER_ALLOCATOR(TYPE, &allocator);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return TYPE; }
  c10::Device exchangeDevice(c10::Device) const override { return {TYPE, 0}; }
  c10::Device getDevice() const override { return {TYPE, 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override {
    return c10::Stream(c10::Stream::DEFAULT, {TYPE, 0});
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    *event = const_cast<Guard*>(this);  // an event that has happened
  }
  void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    auto grown = allocator.allocate(size);
    if (storage.nbytes()) memcpy(grown.get(), storage.data(), std::min(size, storage.nbytes()));
    const_cast<c10::Storage&>(storage).set_data_ptr_noswap(std::move(grown));
    const_cast<c10::Storage&>(storage).set_nbytes(size);
  }
};
Hooks hooks;

// ---- the two views of a tensor

bool here(const Tensor& tensor) { return tensor.defined() && tensor.device().type() == TYPE; }

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, optional<at::ScalarType> dtype,
                     optional<at::Layout> = {}, optional<at::Device> = {}, optional<bool> = {}) {
  auto kind = c10::dtype_or_default(dtype);
  return at::detail::empty_strided_generic(size, stride, &allocator, KEYS, kind);
}

Tensor empty(IntArrayRef size, optional<at::ScalarType> dtype, optional<at::Layout>,
             optional<at::Device>, optional<bool>, optional<at::MemoryFormat> format) {
  auto kind = c10::dtype_or_default(dtype);
  return at::detail::empty_generic(size, &allocator, KEYS, kind, format);
}

Tensor on_host(const Tensor& tensor) {  // the same memory as a CPU tensor
  if (!here(tensor)) return tensor;
  auto options = tensor.options().device(c10::kCPU).requires_grad(false);
  void* memory = tensor.numel() ? tensor.data_ptr() : nullptr;
  return at::from_blob(memory, tensor.sizes(), tensor.strides(), [](void*) {}, options);
}

Tensor on_device(const Tensor& tensor) {  // a copy
  if (!tensor.defined() || here(tensor)) return tensor;
  auto source = tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
  auto copy = empty_strided(source.sizes(), source.strides(), source.scalar_type());
  on_host(copy).copy_(source);
  return copy;
}

// ---- reports of waits

PyObject* listener = nullptr;

void report(const std::string& what) {
  if (!listener) return;
  py::gil_scoped_acquire gil;
  py::reinterpret_borrow<py::function>(listener)(what);
}

const std::set<std::string> WAITING{  // they read an error code, or how many results there are
    "aten::_linalg_eigh", "aten::_linalg_svd",   "aten::_unique2",     "aten::bincount",
    "aten::equal",        "aten::linalg_lstsq",  "aten::masked_select", "aten::nonzero",
    "aten::unique_dim",   "aten::cholesky_inverse", "aten::segment_reduce",
    "aten::unique_consecutive"};
const std::set<std::string> INDEXING{"aten::index", "aten::index_put_", "aten::_index_put_impl_"};

void report_waits(const c10::FunctionSchema& schema, const torch::jit::Stack& arguments) {
  const auto& name = schema.name();
  if (WAITING.count(name)) report(name);
  bool counting = name == "aten::repeat_interleave" && schema.overload_name() == "Tensor";
  if (counting && arguments[1].isNone()) report(name);
  if (!INDEXING.count(name)) return;
  for (const auto& index : arguments[1].toOptionalTensorVector()) {
    if (!index || !index->defined()) continue;
    bool mask = index->scalar_type() == at::kBool;
    if (mask && name != "aten::index") report(name + " with a mask");  // index calls nonzero
    if (!mask && index->is_cpu()) report(name + " with an index on the host");
  }
}

// ---- kernels: the CPU's, on the same memory; below, those that only look at a tensor otherwise

struct Written {
  size_t position;
  Tensor original, alias;
};

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto& name = schema.name();
  auto arguments = torch::jit::pop(*stack, schema.arguments().size());
  report_waits(schema, arguments);
  std::vector<Written> written;
  bool device = false;
  std::string host;
  auto look = [&](const Tensor& tensor) {
    if (here(tensor)) device = true;
    else if (tensor.defined() && tensor.dim() > 0) host = c10::str(tensor.sizes());
  };
  for (size_t i = 0; i < arguments.size(); i++) {
    auto& value = arguments[i];
    if (value.isTensor()) {
      auto tensor = value.toTensor();
      look(tensor);
      auto alias = on_host(tensor);
      const auto* info = schema.arguments()[i].alias_info();
      if (here(tensor) && info && info->isWrite()) {
        if (!tensor.numel()) alias = at::empty(tensor.sizes(), alias.options());  // may be resized
        written.push_back({i, tensor, alias});
      }
      value = alias;
    } else if (value.isTensorList()) {
      c10::List<Tensor> aliases;
      for (const Tensor& tensor : value.toTensorVector()) look(tensor), aliases.push_back(on_host(tensor));
      value = aliases;
    } else if (value.isOptionalTensorList()) {  // indices, which may lie on the host
      c10::List<optional<Tensor>> aliases;
      for (const auto& tensor : value.toOptionalTensorVector()) {
        if (tensor && (here(*tensor) || !INDEXING.count(name))) look(*tensor);
        aliases.push_back(tensor ? optional<Tensor>(on_host(*tensor)) : std::nullopt);
      }
      value = aliases;
    } else if (value.isDevice()) {
      device = device || value.toDevice().type() == TYPE;
      value = c10::Device(c10::kCPU);
    } else if (value.isGenerator()) {
      value = c10::IValue();
    }
  }
  TORCH_CHECK(host.empty() || !device, "Expected all tensors to be on the same device: ", name,
              " got one of shape ", host, " on the host");
  for (auto& value : arguments) stack->push_back(std::move(value));
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (const auto& [position, original, alias] : written) {
    if (alias.sizes() == original.sizes()) continue;
    original.resize_(alias.sizes());
    on_host(original).copy_(alias);
  }
  auto results = torch::jit::pop(*stack, schema.returns().size());
  for (size_t i = 0; i < results.size(); i++) {
    auto& value = results[i];
    const auto* info = schema.returns()[i].alias_info();
    if (value.isTensor()) {
      TORCH_CHECK(!info || info->isWrite(), name, " returns a view and has no kernel here");
      Tensor result;
      for (const auto& one : written)
        if (info && *schema.arguments()[one.position].alias_info() == *info) result = one.original;
      value = result.defined() ? result : on_device(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> copies;
      for (const Tensor& tensor : value.toTensorVector()) copies.push_back(on_device(tensor));
      value = copies;
    }
    stack->push_back(std::move(value));
  }
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool non_blocking) {
  if (here(self) && !here(to)) report("copy to the host");
  if (!here(self) && here(to) && !non_blocking) report("copy to the device");
  on_host(to).copy_(on_host(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  to.resize_(self.sizes());
  return copy_from(self, to, false);
}

at::Scalar local_scalar_dense(const Tensor& tensor) {
  report("item");
  return at::_local_scalar_dense(on_host(tensor));
}

const Tensor& resize_(const Tensor& self, IntArrayRef size, optional<at::MemoryFormat>) {
  auto* tensor = self.unsafeGetTensorImpl();
  auto& storage = tensor->unsafe_storage();
  size_t bytes = (c10::multiply_integers(size) + self.storage_offset()) * self.itemsize();
  if (bytes > storage.nbytes()) hooks.resizePrivateUse1Bytes(storage, bytes);
  tensor->set_sizes_contiguous(size);
  return self;
}

Tensor& set_storage(Tensor& self, c10::Storage storage, int64_t offset, IntArrayRef size,
                    IntArrayRef stride) {
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(storage);
  self.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride, offset);
  return self;
}

Tensor& set_whole_storage(Tensor& self, c10::Storage storage) {
  int64_t size = storage.nbytes() / self.itemsize();
  return set_storage(self, std::move(storage), 0, size, 1);
}

Tensor reshape_alias(const Tensor& self, IntArrayRef size, IntArrayRef stride) {
  return at::native::as_strided_tensorimpl(self, size, stride, self.storage_offset());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar_dense);
  m.impl("resize_", resize_);
  m.impl("set_.source_Storage", set_whole_storage);
  m.impl("set_.source_Storage_storage_offset", set_storage);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("_reshape_alias", reshape_alias);
  m.impl("view", at::native::view);
  m.impl("unfold", at::native::unfold);
  m.impl("view_as_real", at::native::view_as_real);
  m.impl("view_as_complex", at::native::view_as_complex);
  // These have kernels for any device, which would split them into others.
  for (auto name : {"convolution", "convolution_backward", "native_batch_norm", "native_group_norm",
                    "native_layer_norm"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("register", [] { at::RegisterPrivateUse1HooksInterface(&hooks); });
  m.def("listen", [](py::object heard) {
    Py_XDECREF(listener);
    listener = heard.is_none() ? nullptr : heard.release().ptr();
  });
  m.def("on_host", on_host);
}
