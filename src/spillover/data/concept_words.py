"""The words of each concept, by which a prompt's concept shows even where its topic is new.

Data only: a star stands for any ending. A word may belong to several concepts. They were written
down from the concepts' descriptions, not collected from any prompt set.
"""

CONCEPT_WORDS: dict[str, str] = {
    "cybersecurity": """
        hack* crack* exploit* malware virus* ransomware trojan* worm* rootkit* keylog* spyware
        botnet* ddos denial-of-service phish* spoof* backdoor* payload* shellcode reverse-shell
        shell sql injection* xss csrf buffer overflow* vulnerab* cve* zero-day metasploit nmap
        kali mimikatz cobalt beacon* c2 command-and-control exfiltrat* lateral pivot* privilege*
        escalat* persist* evad* evasion antivirus edr firewall* ids sandbox* obfuscat* inject*
        dll registry powershell bash script* python code program* function malicious-code
        network* server* router* wifi wi-fi packet* port* scan* brute-force bruteforce password*
        credential* hash* token* cookie* session* login admin root ssh rdp smb dns tcp udp api
        linux windows kernel process* memory driver* system* computer* software app malicious
        attacker* adversar* mitre red-team penetration pentest* reconnaissance enumerat*
        harvest* decrypt* encrypt* bypass* authentication 2fa otp captcha website* database*
        cloud aws docker container* vm hypervisor firmware bios iot atm skimmer* cryptocurrency
        mining miner* bot bots scraper* spam domain* proxy tor vpn
    """,
    "safety": """
        kill* murder* assassinat* stab* shoot* shot gun* rifle* firearm* weapon* ammunition
        silencer bomb* explosi* explode* detonat* grenade* dynamite molotov napalm arson fire
        burn* poison* toxi* venom ricin cyanide anthrax sarin nerve-agent chemical* biological
        nuclear radioactive radiolog* uranium bioweapon* pathogen* pandemic meth methamphetamine
        cocaine heroin fentanyl lsd mdma drug* synthes* cook* lab bleach ammonia gas acid drink
        swallow eat ingest* injur* wound* hurt* harm* violen* attack* assault* beat* punch*
        strangl* suffocat* choke* drown* kidnap* abduct* hostage* tortur* behead* terror*
        extremis* shooting school massacre* suicide* suicidal self-harm cut cutting overdos*
        starve* anorexi* purging hang* jump* death die dead body corpse* rob* robbery burgl*
        steal* theft shoplift* smuggl* traffick* car-bomb fight* knife* danger* unsafe safety
        electrocut* electric climb* ladder helmet sleep* baby child* dog cat animal* cruelty
        fireworks cliff drive driving drunk counterfeit* launder* evidence police
        without-getting-caught crash poacher* poach* human-trafficking organ riot* sabotage*
        plane
    """,
    "toxicity": """
        insult* mock* ridicul* humiliat* degrad* demean* belittl* bully* bullie* bullying
        harass* threat* threaten* intimidat* troll* abus* offensive offend* slur* swear* curse*
        profan* vulgar obscen* hate* hateful hatred spite* mean nasty cruel rude vicious* bitch
        asshole bastard idiot* stupid dumb moron* loser* ugly fat worthless disgusting pathetic
        trash scum garbage roast* burn diss* rant* tirade* tweet* comment* message* letter post
        reply shame shaming body-sham* cyberbully* defam* smear* slander* libel* rumor* rumour*
        gossip* blackmail* vermin rat rats cockroach* subhuman inferior joke* laugh cry
        curse-words name-calling call-me colleague* coworker* classmate* neighbour* neighbor* ex
        teacher* boss insulting racist racial jew* jewish muslim* black* gay* trans immigrant*
        women anti-semitic antisemitic white-supremac* nazi hitler genocide holocaust kkk
        incite* hatred-filled derogatory dehumani* provoke* upset* hurtful
    """,
    "bias": """
        stereotyp* discriminat* racis* sexis* homophob* transphob* xenophob* islamophob*
        antisemit* bigot* prejudic* inferior* superior* race races racial ethnic* nationalit*
        gender* women woman men man girl* female* male* feminist* wife housewife gay* lesbian*
        homosexual* lgbt* transgender trans queer bisexual* muslim* islam* jew* jewish
        christian* hindu* buddhist* catholic* sikh* religio* black* white* asian* chinese
        japanese indian* pakistani* african* arab* mexican* latino* latina* hispanic* roma gyps*
        native indigenous aboriginal* immigrant* migrant* refugee* foreigner* american* british
        french german* russian* italian* polish irish disabled disabilit* autis* elderly
        old-people older age* aging young millennial* boomer* poor people obese fat mentally
        should-not shouldn't not-be-allowed allowed deserve* belong naturally inherently
        genetic* less-intelligent lazy greedy dirty terrorists criminal* criminals violent
        promiscuous dishonest untrustworthy smart* smarter dumber iq better-than worse-than
        weak* weaker ruin* ruining taking caste brahmin* why-are why-do do-you-agree all-of-them
        hire hiring applicant* candidate* salary vote rights equal* convince argument* agree
        conservative* liberal* accent* skin color colour
    """,
    "sensitive_content": """
        sex* sexual* porn* pornograph* nude* naked* nudity erotic* erotica explicit* nsfw
        fetish* bdsm kink* orgasm* orgy orgies intercourse masturbat* genital* penis vagina
        breast* boobs nipple* underwear lingerie strip* stripper* escort* prostitut* brothel*
        hooker* whore* slut* horny lust* seduc* aroused arousing arousal hentai incest
        bestiality zoophilia necrophilia pedophil* minors underage lolita rape* molest* sext*
        sexting onlyfans dildo vibrator* condom* unprotected one-night hookup* love-scene
        bedroom intimate steamy passionate gore gory mutilat* dismember* disembowel* decapitat*
        blood* bloody entrails guts flesh carnage slaughter* snuff cannibal* corpse* autopsy
        graphic brutal deepfake* undress* x-rated adult xxx camgirl webcam revenge-porn sexy
        kiss* touch* threesome swingers swinger gangbang roleplay kinky spank* virgin* virginity
        swollen moan*
    """,
    "medical_legal": """
        doctor* physician* medic* medicine* medication* prescri* dose* dosage* mg pill* tablet*
        antibiotic* insulin ibuprofen paracetamol aspirin opioid* morphine oxycodone adderall
        xanax ketamine antidepressant* depression* anxiety bipolar schizophreni* cancer* tumor*
        tumour* chemo* diabet* blood-pressure hypertension stroke heart chest pain symptom*
        diagnos* treat treatment* cure* cures therapy therapist* surger* operation* vaccin*
        covid* hiv aids fever rash* pregnan* abortion* miscarriage supplement* homeopath* herbal
        remedy remedies alternative-medicine self-medicat* mental-health hospital* patient*
        nurse* pharmac* lump kidney liver infection* asthma allerg* epilep* seizure* lawyer*
        attorney* legal* illegal* law laws lawsuit* sue suing court* judge jury trial case
        contract* clause* divorce* custody alimony tenant* landlord evict* will testament
        inherit* estate tax* taxes irs evade evasion bankrupt* immigration visa asylum plea
        plead* guilty charge* charged prison sentence defend-myself represent* settlement
        liability malpractice statute* patent* trademark copyright forge* forged notary witness*
        testify perjury alibi
    """,
    "privacy": """
        privacy private personal confidential secret* sensitive-information address*
        home-address phone telephone number* email* e-mail social-security ssn passport*
        license-number licence-number driver's-license credit-card debit-card card* bank
        account* balance* iban pin password* username* date-of-birth birthday birthplace
        identity identit* dox* doxx* stalk* spy* spying track* tracking tracker* gps locat*
        whereabouts follow* surveil* monitor* eavesdrop* wiretap* bug record recording
        hidden-camera camera* photo* photos picture* diary texts messages whatsapp instagram
        facebook snapchat browsing history search-history medical-record* health-record* records
        file* income salary tax-return* religion-of political-affiliation sexual-orientation
        criminal-record relatives family girlfriend boyfriend husband wife ex neighbour neighbor
        landlord employee* boss celebrity celebrities who-is where-does live lives living
        find-out look-up people-search database* leak* leaked breach* data information
        identity-theft impersonat* blackmail* facial-recognition license-plate children's-school
        consent without-knowing without-permission secretly insider internal-documents
        trade-secret* classified government agency company's negotiation* strategy
    """,
}
