package spellings;

import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** One handler behind a path that is to be protected, and how often it was reached. */
@SpringBootApplication
@RestController
public class App {
    private final AtomicInteger hits = new AtomicInteger();

    public static void main(String[] arguments) {
        SpringApplication.run(App.class, arguments);
    }

    @EventListener
    void ready(ServletWebServerInitializedEvent event) {
        System.out.println("ready " + event.getWebServer().getPort());
    }

    @GetMapping("/admin/secret")
    String secret() {
        hits.incrementAndGet();
        return "secret";
    }

    @GetMapping("/hits")
    int hits() {
        return hits.get();
    }
}
