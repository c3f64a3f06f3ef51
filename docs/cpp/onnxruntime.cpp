// The engine on ONNX Runtime, on the CPU.
#include "detector.hpp"

#include <onnxruntime_cxx_api.h>

namespace {

class OnnxRuntime : public Engine {
public:
    explicit OnnxRuntime(const std::string& file) : session_(environment_, file.c_str(), Ort::SessionOptions()) {}

    std::vector<Values> run(const std::vector<Given>& inputs, const std::vector<std::string>& outputs) override {
        std::vector<Ort::Value> tensors;
        std::vector<const char*> given, wanted;
        for (const Given& one : inputs) {
            size_t size = one.bytes ? sizeof(uint8_t) : sizeof(float);
            for (const int64_t side : one.shape) size *= size_t(side);
            const auto type = one.bytes ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
            tensors.push_back(Ort::Value::CreateTensor(memory_, const_cast<void*>(one.data), size, one.shape.data(),
                                                       one.shape.size(), type));
            given.push_back(one.name.c_str());
        }
        for (const std::string& name : outputs) wanted.push_back(name.c_str());
        auto results = session_.Run(Ort::RunOptions{nullptr}, given.data(), tensors.data(), tensors.size(),
                                    wanted.data(), wanted.size());
        std::vector<Values> found;
        for (Ort::Value& result : results) {
            const auto about = result.GetTensorTypeAndShapeInfo();
            const size_t size = about.GetElementCount();
            Values values{about.GetShape(), {}};
            if (about.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32) {
                const auto* numbers = result.GetTensorData<int32_t>();
                values.data.assign(numbers, numbers + size);
            } else {
                const auto* numbers = result.GetTensorData<float>();
                values.data.assign(numbers, numbers + size);
            }
            found.push_back(std::move(values));
        }
        return found;
    }

private:
    Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "detect"};
    Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    Ort::Session session_;
};

}  // namespace

bool can_open(const std::string& suffix) { return suffix == ".onnx"; }

std::unique_ptr<Engine> open_engine(const std::string& file) { return std::make_unique<OnnxRuntime>(file); }
